//! How runs know of each other that they are alive.
//!
//! The engine keeps objects of runs on several machines, and nothing but the engine is common to
//! them. So each run has a container that is never started, whose name says until when the run is
//! to be taken for alive, by the engine's clock; it is renamed for as long as the run lives. Runs of
//! the same machine need not wait for that time: a file that is locked while a run lives tells at
//! once when it has been killed.

use std::fs::{self, File, TryLockError};
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::body_full;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, InspectContainerOptions, RenameContainerOptions,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use nix::time::{ClockId, clock_gettime};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::failure::{failed, is_missing};
use super::labels::{Labels, object_name};
use super::sweep::remove_container;
use crate::driver::DriverError;

/// An image without any file, for containers that are never started. It stays with the engine.
pub const EMPTY_IMAGE: &str = "ci-empty:1";

/// How many times a lease is renewed while it lasts.
const RENEWALS: u32 = 4;

/// Held by a run for as long as it lives.
pub struct Lease {
    docker: Docker,
    prefix: String,
    labels: Labels,
    /// How long it lasts.
    valid: Duration,
    state: Mutex<State>,
    /// Held by who renews it.
    renewing: tokio::sync::Mutex<()>,
    /// Fires when it is not to be renewed any more.
    released: CancellationToken,
    /// The engine's time when the lease began, in seconds since 1970, and this machine's [`uptime`].
    began: (i64, i64),
    lock: Option<LockFile>,
}

#[derive(Clone)]
struct State {
    container: String,
    /// Until when the run counts as alive by the container's name, in the engine's time.
    until: i64,
}

/// A file that is locked by a run. It is unlocked by the run's end, whatever that is.
struct LockFile {
    path: PathBuf,
    _file: File,
}

impl Lease {
    /// Takes a lease that lasts for `valid` from its last renewal. It has to exist before anything else of
    /// the run does.
    pub async fn take(
        docker: &Docker,
        directory: &Path,
        run: &str,
        labels: &Labels,
        valid: Duration,
    ) -> Result<Self, DriverError> {
        // Without a place for the file the container has to do.
        let lock = LockFile::new(directory, run).ok();
        let prefix = object_name(run, "until-");
        // By this machine's clock, until the engine's is known.
        let until = super::labels::now() + whole(valid);
        let context = "cannot create the run's lease";
        let created = create(docker, format!("{prefix}{until}"), labels).await;
        let container = created.map_err(|error| failed(context, error))?;
        let lease = async {
            let options = None::<InspectContainerOptions>;
            let found = docker.inspect_container(&container, options).await;
            let created = found.map_err(|error| failed(context, error))?.created;
            let began = (created.map_or_else(super::labels::now, |at| seconds(&at)), uptime());
            let lease = Self {
                docker: docker.clone(),
                prefix,
                labels: labels.clone(),
                valid,
                state: Mutex::new(State { container: container.clone(), until }),
                renewing: tokio::sync::Mutex::default(),
                released: CancellationToken::new(),
                began,
                lock,
            };
            lease.renew().await.map_err(|error| failed("cannot renew the run's lease", error))?;
            Ok(lease)
        };
        match lease.await {
            Ok(lease) => Ok(lease),
            Err(error) => {
                _ = timeout(valid, remove_container(docker, &container)).await;
                Err(error)
            }
        }
    }

    /// The engine's time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        let (began, at) = self.began;
        began.saturating_add(uptime().saturating_sub(at))
    }

    /// Renews the lease until it is [released](Self::release). `lost` fires when that has not been possible
    /// before its end, and the engine does not answer either.
    pub async fn keep(&self, lost: &CancellationToken) {
        let pause = self.valid / RENEWALS;
        loop {
            tokio::select! {
                () = self.released.cancelled() => return,
                () = sleep(pause) => {}
            }
            // The engine may be busy; there are more attempts than one before the lease ends.
            _ = timeout(pause, self.renew()).await;
            if self.state().until <= self.now()
                && !matches!(timeout(pause, self.docker.ping()).await, Ok(Ok(_)))
            {
                lost.cancel();
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let _here = self.renewing.lock().await;
        if self.released.is_cancelled() {
            return Ok(());
        }
        let State { container, until } = self.state();
        let next = self.now() + whole(self.valid);
        // The engine refuses to give a container the name that it has.
        if next == until {
            return Ok(());
        }
        let name = format!("{}{next}", self.prefix);
        let options = RenameContainerOptions { name: name.clone() };
        let container = match self.docker.rename_container(&container, options).await {
            // Somebody has cleared the engine's containers.
            Err(error) if is_missing(&error) => create(&self.docker, name, &self.labels).await?,
            renamed => renamed.map(|()| container)?,
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            State { container, until: next };
        Ok(())
    }

    /// What the engine knows it by.
    pub fn container(&self) -> String {
        self.state().container
    }

    fn state(&self) -> State {
        // No holder can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the lease run out, when nothing can be removed any more.
    pub fn abandon(&self) {
        self.released.cancel();
    }

    /// Gives the lease up, when nothing else of the run is left.
    pub async fn release(&self) -> Result<(), DriverError> {
        self.released.cancel();
        // What comes after that renews nothing.
        drop(self.renewing.lock().await);
        remove_container(&self.docker, &self.state().container)
            .await
            .map_err(|error| failed("cannot remove the run's lease", error))?;
        if let Some(lock) = &self.lock {
            _ = fs::remove_file(&lock.path);
        }
        Ok(())
    }
}

/// Creates the container of a lease.
async fn create(docker: &Docker, name: String, labels: &Labels) -> Result<String, Error> {
    let body = ContainerCreateBody {
        image: Some(EMPTY_IMAGE.into()),
        cmd: Some(vec!["never-started".into()]),
        labels: Some(labels.clone()),
        ..Default::default()
    };
    let options = CreateContainerOptions { name: Some(name), ..Default::default() };
    let created = create_empty(docker, options, body).await?;
    Ok(created.id)
}

/// Creates a container of the empty image, which is made if it is not there: nobody has needed it so far,
/// or somebody has cleared the engine's images.
pub async fn create_empty(
    docker: &Docker,
    options: CreateContainerOptions,
    body: ContainerCreateBody,
) -> Result<ContainerCreateResponse, Error> {
    match docker.create_container(Some(options.clone()), body.clone()).await {
        Err(error) if is_missing(&error) => {
            make_empty_image(docker).await?;
            docker.create_container(Some(options), body).await
        }
        created => created,
    }
}

/// Seconds since this machine was started, with those for which it has slept: the engine's time goes on
/// meanwhile.
fn uptime() -> i64 {
    // Linux has this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec())
}

/// In seconds.
fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
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
async fn make_empty_image(docker: &Docker) -> Result<(), Error> {
    let (repository, tag) = EMPTY_IMAGE.split_once(':').unwrap_or((EMPTY_IMAGE, "latest"));
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some(repository.into()),
        tag: Some(tag.into()),
        ..Default::default()
    };
    // Two empty blocks are the end of a tar archive.
    let archive = body_full(Bytes::from_static(&[0; 1024]));
    docker.create_image(Some(options), Some(archive), None).try_for_each(|_| ready(Ok(()))).await
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
