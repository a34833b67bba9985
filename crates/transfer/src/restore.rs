//! From an object to a volume's files.
//!
//! An archive is unpacked beside the volume's place and moved there by a rename, so that the volume is whole
//! or empty.

use std::path::Path;
use std::time::{Duration, SystemTime};

use archive::{self, Compression, Control, Stage, UnpackError, UnpackOptions, Unpacked};
use files::remove::remove;
use store::{CacheKey, Download, ObjectInfo};
use tokio::time::Instant;

use super::error::TransferError;
use super::execution::Execution;
use super::job::{Candidate, TransferJob};
use super::report::{Miss, Outcome, TransferReport, TransferUpdate};
use super::streams::{Downloaded, Moved, Sent};
use super::volume::{LocalDirectory, VolumeAccess, VolumeStream};
use super::watchdog::Watchdog;

/// How often a restore begins again because another run has replaced the archive meanwhile.
const RESTARTS: u32 = 2;

/// Fills an empty volume from the first candidate that can be used, or leaves it empty.
pub async fn restore(
    job: &TransferJob,
    candidates: &[Candidate],
    execution: &Execution<'_>,
    moved: &Moved,
) -> Result<TransferReport, TransferError> {
    let mut misses = Vec::new();
    // All candidates together have one budget.
    let started = Instant::now();
    for (number, candidate) in candidates.iter().enumerate() {
        match restore_one(job, (number, candidate), started, execution, moved).await? {
            Ok(report) => return Ok(report),
            Err(miss) => misses.push(miss),
        }
    }
    Ok(TransferReport::of(Outcome::Missing { misses }))
}

async fn restore_one(
    job: &TransferJob,
    (number, candidate): (usize, &Candidate),
    started: Instant,
    execution: &Execution<'_>,
    moved: &Moved,
) -> Result<Result<TransferReport, Miss>, TransferError> {
    let (store, volume) = (execution.store()?, execution.volume()?);
    let key = &candidate.key;
    let mut restarts = 0;
    loop {
        // So do all attempts.
        let watchdog = Watchdog::since(started, job.deadlines, store.retries(), execution.cancel);
        let downloading = watchdog.enter(Stage::Download);
        let found = watchdog.bounded(store.get(key)).await??;
        drop(downloading);
        let Some((object, download)) = found else {
            return Ok(Err(Miss::Absent { key: key.clone() }));
        };
        if candidate.is_legacy && !object.metadata.is_of_old_keys() {
            return Ok(Err(Miss::OfAnotherVolume { key: key.clone() }));
        }
        if let Some(age) = expired(&object, candidate.max_age) {
            return Ok(Err(Miss::Expired { key: key.clone(), age }));
        }
        if restarts == 0 {
            execution.tell(TransferUpdate::Found { key: key.clone(), bytes: object.size }).await;
        }
        let options = job.format.unpack_options(&object.metadata, execution.budget.clone());
        let compression = job.format.compression;
        let archive = Archive { download, compression, options, moved: moved.clone() };
        let of = Of { number, etag: object.etag.clone() };
        let unpacked = match volume {
            VolumeAccess::Local(directory) => archive.into_directory(directory, of, watchdog).await,
            VolumeAccess::Stream(stream) => archive.into_stream(&**stream, of, watchdog).await,
        };
        match unpacked {
            Ok(unpacked) => {
                let outcome = Outcome::Restored { candidate: number };
                return Ok(Ok(TransferReport::of_unpacked(outcome, object, unpacked)));
            }
            Err(TransferError::Changed(_)) if restarts < RESTARTS => restarts += 1,
            Err(error) => return Err(error),
        }
    }
}

/// How old an object is, if it is too old to count.
fn expired(object: &ObjectInfo, max_age: Option<Duration>) -> Option<Duration> {
    // An object from the future is as fresh as can be.
    let age = SystemTime::now().duration_since(object.modified).unwrap_or_default();
    (age > max_age?).then_some(age)
}

/// Reads an archive to its end. It is compared with what it says of itself.
pub async fn verify(
    job: &TransferJob,
    key: &CacheKey,
    execution: &Execution<'_>,
    moved: &Moved,
) -> Result<TransferReport, TransferError> {
    let store = execution.store()?;
    let watchdog = Watchdog::start(job.deadlines, store.retries(), execution.cancel);
    let downloading = watchdog.enter(Stage::Download);
    let found = watchdog.bounded(store.get(key)).await??;
    drop(downloading);
    let Some((object, download)) = found else {
        let misses = vec![Miss::Absent { key: key.clone() }];
        return Ok(TransferReport::of(Outcome::Missing { misses }));
    };
    let options = job.format.unpack_options(&object.metadata, execution.budget.clone());
    let compression = job.format.compression;
    let mut source = Downloaded::until(download, watchdog.over.clone(), moved.clone());
    let verified = watchdog
        .blocking(move |control| archive::verify(&mut source, compression, &options, control))
        .await?
        .map_err(|error| TransferError::of_archive(error, 0, &object.etag))?;
    Ok(TransferReport::of_unpacked(Outcome::Verified, object, verified))
}

/// An archive that is about to be unpacked.
struct Archive {
    download: Download,
    compression: Compression,
    options: UnpackOptions,
    moved: Moved,
}

/// Which candidate an archive is of, and which version of it.
struct Of {
    number: usize,
    etag: String,
}

impl Of {
    /// Reads the rest of an archive that seems to be damaged. If that fails, the download is what is wrong.
    fn confirmed(
        &self,
        error: UnpackError,
        source: &mut Downloaded,
        control: &Control,
    ) -> TransferError {
        if error.is_of_archive() {
            let _downloading = control.enter(Stage::Download);
            if let Err(source) = source.drain() {
                return self.error(UnpackError::Source(source));
            }
        }
        self.error(error)
    }

    fn error(&self, error: UnpackError) -> TransferError {
        TransferError::of_archive(error, self.number, &self.etag)
    }
}

impl Archive {
    async fn into_directory(
        self,
        directory: &LocalDirectory,
        of: Of,
        watchdog: Watchdog,
    ) -> Result<Unpacked, TransferError> {
        let LocalDirectory { path, staging } = directory.clone();
        let Self { download, compression, options, moved } = self;
        let mut source = Downloaded::until(download, watchdog.over.clone(), moved);
        watchdog
            .blocking(move |control| {
                let mut unpack = || -> Result<Unpacked, TransferError> {
                    let writing = control.enter(Stage::Write);
                    std::fs::create_dir(&staging)?;
                    drop(writing);
                    let unpacked =
                        archive::unpack(&mut source, compression, &staging, &options, control)
                            .map_err(|error| of.confirmed(error, &mut source, control))?;
                    // From here on it is too late to say that the volume is empty.
                    control.commit().map_err(|_| TransferError::Cancelled)?;
                    let _writing = control.enter(Stage::Write);
                    std::fs::rename(&staging, &path)?;
                    Ok(unpacked)
                };
                unpack().map_err(|error| {
                    let _writing = control.enter(Stage::Write);
                    cleared(&staging, error)
                })
            })
            .await?
    }

    /// The engine unpacks what has been checked here.
    async fn into_stream(
        self,
        stream: &dyn VolumeStream,
        of: Of,
        watchdog: Watchdog,
    ) -> Result<Unpacked, TransferError> {
        let Self { download, compression, options, moved } = self;
        let mut source = Downloaded::until(download, watchdog.over.clone(), moved);
        let (mut sent, archive) = Sent::until(&watchdog.over);
        let validate = watchdog.blocking(move |control| {
            let validated =
                archive::validate(&mut source, compression, &options, &mut sent, control);
            if validated.is_ok() {
                sent.finish();
            }
            validated.map_err(|error| {
                let is_of_sink = matches!(error, UnpackError::Sink(_));
                (of.confirmed(error, &mut source, control), is_of_sink)
            })
        });
        let write = watchdog.bounded(stream.write(archive));
        let (validated, written) = tokio::join!(validate, write);
        match (validated?, written?) {
            (Ok(validated), Ok(())) => Ok(validated),
            // The engine's reason is why it did not take more.
            (Ok(_) | Err((_, true)), Err(error)) => Err(error.into()),
            (Err((error, _)), _) => Err(error),
        }
    }
}

/// Removes what was unpacked in vain, and adds to the reason if that fails too.
fn cleared(staging: &Path, error: TransferError) -> TransferError {
    match remove(staging) {
        Ok(()) => error,
        // A local reason, whatever the archive is like.
        Err(removing) => {
            TransferError::Io(format!("{error}; cannot remove `{}`: {removing}", staging.display()))
        }
    }
}
