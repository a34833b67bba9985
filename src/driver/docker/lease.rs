//! How runs know of each other that they are alive.
//!
//! The engine keeps objects of runs on several machines, and nothing but the engine is common to
//! them. So each run has a container that is never started, whose name says until when the run is
//! to be taken for alive, by the engine's clock; it is renamed for as long as the run lives. Runs of
//! the same machine need not wait for that time: a file that is locked while a run lives tells at
//! once when it has been killed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::body_full;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, InspectContainerOptions, RenameContainerOptions,
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::failure::{failed, is_missing};
use super::labels::Labels;
use super::sweep::remove_container;
use crate::driver::DriverError;

/// An image without any file, for containers that are never started. It stays with the engine.
pub const EMPTY_IMAGE: &str = "ci-empty:1";

/// How long a run counts as alive after the last sign of that, in seconds.
const VALID: i64 = 120;

const RENEWAL: Duration = Duration::from_secs(30);

/// Held by a run for as long as it lives.
pub struct Lease {
    docker: Docker,
    container: String,
    prefix: String,
    /// Until when the run counts as alive by the container's name, in the engine's time.
    until: AtomicI64,
    /// The engine's time when the lease began, in seconds since 1970, and this machine's.
    began: (i64, Instant),
    lock: Option<LockFile>,
}

/// A file that is locked by a run. It is unlocked by the run's end, whatever that is.
struct LockFile {
    path: PathBuf,
    _file: File,
}

impl Lease {
    /// Takes a lease. It has to exist before anything else of the run does.
    pub async fn take(
        docker: &Docker,
        directory: &Path,
        run: &str,
        labels: &Labels,
    ) -> Result<Self, DriverError> {
        // Without a place for the file the container has to do.
        let lock = LockFile::new(directory, run).ok();
        let prefix = format!("ci-{run}-until-");
        let body = ContainerCreateBody {
            image: Some(EMPTY_IMAGE.into()),
            cmd: Some(vec!["never-started".into()]),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        // By this machine's clock, until the engine's is known.
        let until = super::labels::now() + VALID;
        let name = format!("{prefix}{until}");
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let context = "cannot create the run's lease";
        let created = docker.create_container(Some(options.clone()), body.clone()).await;
        let container = match created {
            Err(error) if is_missing(&error) => {
                make_empty_image(docker).await?;
                docker.create_container(Some(options), body).await
            }
            created => created,
        };
        let container = container.map_err(|error| failed(context, error))?.id;
        let lease = async {
            let options = None::<InspectContainerOptions>;
            let found = docker.inspect_container(&container, options).await;
            let created = found.map_err(|error| failed(context, error))?.created;
            let began =
                (created.map_or_else(super::labels::now, |at| seconds(&at)), Instant::now());
            let lease = Self {
                docker: docker.clone(),
                container: container.clone(),
                prefix,
                until: AtomicI64::new(until),
                began,
                lock,
            };
            lease.renew().await?;
            Ok(lease)
        };
        match lease.await {
            Ok(lease) => Ok(lease),
            Err(error) => {
                _ = remove_container(docker, &container).await;
                Err(error)
            }
        }
    }

    /// The engine's time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        let (began, at) = self.began;
        began.saturating_add(i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX))
    }

    /// Renews the lease for ever.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            // The engine may be busy; there are more attempts than one before the lease ends.
            _ = self.renew().await;
        }
    }

    async fn renew(&self) -> Result<(), DriverError> {
        let until = self.now() + VALID;
        // The engine refuses to give a container the name that it has.
        if until != self.until.load(Ordering::Relaxed) {
            let name = format!("{}{until}", self.prefix);
            self.docker
                .rename_container(&self.container, RenameContainerOptions { name })
                .await
                .map_err(|error| failed("cannot renew the run's lease", error))?;
            self.until.store(until, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives the lease up, when nothing else of the run is left.
    pub async fn release(&self) -> Result<(), DriverError> {
        remove_container(&self.docker, &self.container)
            .await
            .map_err(|error| failed("cannot remove the run's lease", error))?;
        if let Some(lock) = &self.lock {
            _ = fs::remove_file(&lock.path);
        }
        Ok(())
    }
}

/// Until when a container with this name keeps its run alive, if it is a lease.
pub fn until(name: &str) -> Option<i64> {
    name.trim_start_matches('/').rsplit_once("-until-")?.1.parse().ok()
}

/// Whether a run is alive as far as this machine knows. `None` for a run of another one.
pub fn is_alive_here(directory: &Path, run: &str) -> Option<bool> {
    let file = File::open(path(directory, run)).ok()?;
    match file.try_lock() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Removes the file of a run that has been cleared.
pub fn forget(directory: &Path, run: &str) {
    if is_alive_here(directory, run) == Some(false) {
        _ = fs::remove_file(path(directory, run));
    }
}

impl LockFile {
    fn new(directory: &Path, run: &str) -> std::io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = path(directory, run);
        // It is locked when it appears.
        let new = path.with_extension("new");
        let file = File::create(&new)?;
        file.lock()?;
        fs::rename(&new, &path)?;
        Ok(Self { path, _file: file })
    }
}

fn path(directory: &Path, run: &str) -> PathBuf {
    // A run's name may come from a label that anybody has set.
    let name: String =
        run.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    directory.join(format!("{name}.lock"))
}

/// Imports an archive that holds nothing.
pub async fn make_empty_image(docker: &Docker) -> Result<(), DriverError> {
    let (repository, tag) = EMPTY_IMAGE.split_once(':').unwrap_or((EMPTY_IMAGE, "latest"));
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some(repository.into()),
        tag: Some(tag.into()),
        ..Default::default()
    };
    // Two empty blocks are the end of a tar archive.
    let archive = body_full(Bytes::from_static(&[0; 1024]));
    let steps: Result<Vec<_>, _> =
        docker.create_image(Some(options), Some(archive), None).try_collect().await;
    steps.map(drop).map_err(|error| failed("cannot make an empty image", error))
}

/// A time of the engine, such as `2026-01-02T03:04:05.678901234Z`, in seconds since 1970.
fn seconds(text: &str) -> i64 {
    match humantime::parse_rfc3339(text) {
        Ok(time) => {
            let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        }
        Err(_) => super::labels::now(),
    }
}
