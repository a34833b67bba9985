//! From a volume's files to an object.

use std::sync::Arc;

use archive::{FileIndex, PackError, Stage};
use store::{CacheKey, Metadata, PutCondition, StoreError, Upload};

use super::content::Content;
use super::error::TransferError;
use super::execution::Execution;
use super::job::TransferJob;
use super::report::{Outcome, TransferReport};
use super::streams::{Moved, Uploading};
use super::watchdog::Watchdog;

/// How many compressed frames wait for the store.
const WAITING: usize = 2;

/// Finds out what the volume holds.
pub async fn scan(
    job: &TransferJob,
    known: Option<Arc<FileIndex>>,
    execution: &Execution<'_>,
) -> Result<TransferReport, TransferError> {
    let (watchdog, content) = open(job, execution).await?;
    let options = job.format.pack_options(execution.budget.clone());
    let scan = watchdog
        .blocking(move |control| content.scan(known.as_deref(), &options, control))
        .await??;
    let outcome = if scan.is_empty() { Outcome::Empty } else { Outcome::Scanned };
    Ok(TransferReport {
        content_bytes: scan.bytes,
        entries: scan.entries,
        digest: Some(scan.digest),
        ..TransferReport::of(outcome)
    })
}

/// Finds out whether the volume holds anything.
pub async fn look_inside(
    job: &TransferJob,
    execution: &Execution<'_>,
) -> Result<TransferReport, TransferError> {
    let (watchdog, content) = open(job, execution).await?;
    let options = job.format.pack_options(execution.budget.clone());
    let is_empty =
        watchdog.blocking(move |control| content.has_nothing(&options, control)).await??;
    Ok(TransferReport::of(if is_empty { Outcome::Empty } else { Outcome::Filled }))
}

async fn open(
    job: &TransferJob,
    execution: &Execution<'_>,
) -> Result<(Watchdog, Content), TransferError> {
    let watchdog = Watchdog::start(job.deadlines, false, execution.cancel);
    let content = Content::open(execution.volume()?, &watchdog).await?;
    Ok((watchdog, content))
}

/// Packs a volume and publishes the archive. If `metadata` has a digest, the tree has to be still the one
/// that it is of.
pub async fn persist(
    job: &TransferJob,
    (key, metadata, condition): (&CacheKey, &Metadata, &PutCondition),
    execution: &Execution<'_>,
    moved: &Moved,
) -> Result<TransferReport, TransferError> {
    let store = execution.store()?;
    let watchdog = Watchdog::start(job.deadlines, store.retries(), execution.cancel);
    let content = Content::open(execution.volume()?, &watchdog).await?;
    let (sender, parts) = Upload::channel(WAITING);
    watchdog.follow(sender.progress());
    let options = job.format.pack_options(execution.budget.clone());
    let mut described = metadata.clone();
    let mut sink = Uploading::new(sender, &watchdog, moved.clone());
    let pack = watchdog.blocking(move |control| {
        let packed = content.pack(&options, &mut sink, control)?;
        let digest = packed.digest.to_string();
        let publish = described.digest.as_ref().is_none_or(|expected| *expected == digest);
        if publish {
            described.digest = Some(digest);
            described.entries = Some(packed.entries);
            described.content_bytes = Some(packed.bytes);
            // A store that has gone away says so itself.
            _ = sink.sender.blocking_finish(Some(described));
        }
        Ok::<_, PackError>((packed, publish))
    });
    // Side by side: the store takes parts while later ones are being packed. A store that fails drops
    // its end, which ends the packing, and the other way round.
    let pack = async {
        let packed = pack.await;
        // From now on the store is what is waited for.
        (packed, watchdog.enter(Stage::Upload))
    };
    let put = watchdog.bounded(store.put(key, metadata, condition, parts));
    let ((packed, _uploading), stored) = tokio::join!(pack, put);
    let is_conflict = |error: &StoreError| {
        matches!(error, StoreError::Replaced { .. } | StoreError::Foreign { .. })
    };
    let (packed, stored) = match (packed?, stored) {
        (_, Ok(Err(error))) if is_conflict(&error) => return Err(error.into()),
        both => both,
    };
    let (packed, publish) = match (packed, &stored) {
        (Ok(packed), _) => packed,
        // The store's reason is why the sink failed.
        (Err(PackError::Sink(_)), Ok(Err(error))) => return Err(error.into()),
        (Err(error), _) => return Err(error.into()),
    };
    if !publish {
        return Ok(TransferReport::of(Outcome::Changing));
    }
    let stored = stored??;
    let outcome = match stored.parts {
        Some(parts) => Outcome::Sent { parts },
        None => Outcome::Published,
    };
    let mut notices = packed.notices;
    notices.extend(stored.notice);
    Ok(TransferReport {
        bytes: packed.compressed_bytes,
        content_bytes: packed.bytes,
        entries: packed.entries,
        digest: Some(packed.digest),
        notices,
        ..TransferReport::of(outcome)
    })
}
