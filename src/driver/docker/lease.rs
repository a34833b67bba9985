//! How runs on several machines know of each other that they are alive.
//!
//! Runs on different machines share only the engine, and labels cannot change. So each run keeps a
//! container that is never started, its lease. The container's name says when the lease expires, by the
//! [engine's clock](super::clock), and the run renames it to renew the lease.
//!
//! `docker system prune`, `docker container prune` and `docker rm` remove leases of living runs. So a
//! missing lease proves nothing. Whoever wants to remove what a dead run left behind decides as follows:
//!
//! 1. A run of the same machine is dead when it no longer holds the lock on its [file](super::lock_file).
//! 2. A run whose lease has expired is dead, and one whose lease has not is alive.
//! 3. A run without a lease gets a [substitute lease](substitute) from whoever looks, which lasts as long as
//!    the run's own would. The engine keeps it, so that every other machine sees it.
//! 4. A run whose substitute lease has expired is dead.
//!
//! A living run makes a new lease when it finds that its own is gone, and removes all substitutes of its
//! own lease each time that it renews it. It renews several times within the length of a lease. So a
//! substitute can only expire if the run has not renewed its lease for that long, which is what an expired
//! lease means as well. Removing leases and substitutes at any moment only starts that time anew.

use std::future::ready;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::body_full;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, ListContainersOptions, RenameContainerOptions,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::clock::EngineClock;
use super::engine::Engine;
use super::failure::{failed, is_conflict, is_missing};
use super::labels::{self, LEASE, Labels, RUN, object_name};
use super::lock_file::{LockFile, Owner};
use super::removal::remove_container;
use crate::driver::DriverError;

/// An image without any file, for containers that are never started. It stays with the engine.
pub const EMPTY_IMAGE: &str = "ci-empty:1";

/// How many times a lease is renewed while it lasts.
const RENEWALS: u32 = 4;

/// How the names of leases and of substitutes for them begin, after that of their run.
const OWN: &str = "until-";
const SUBSTITUTE: &str = "missing-until-";

/// A time that has passed for every engine.
const EXPIRED: i64 = 1;

/// For how long leases last at least and at most, in seconds. Labels may say anything.
const LENGTHS: std::ops::RangeInclusive<i64> = 1..=86_400;

/// Held by a run for as long as it lives.
pub struct Lease {
    docker: Docker,
    clock: EngineClock,
    run: String,
    labels: Labels,
    /// How long it lasts.
    valid: Duration,
    state: Mutex<State>,
    /// Held by who renews it.
    renewing: tokio::sync::Mutex<()>,
    /// Fires when it is not to be renewed any more.
    released: CancellationToken,
    lock: Option<LockFile>,
}

#[derive(Clone)]
struct State {
    container: String,
    /// When the lease expires by the container's name, in the engine's time.
    until: i64,
}

impl Lease {
    /// Takes a lease that lasts for `valid` from its last renewal. It has to exist before anything else of
    /// the run does.
    pub async fn take(
        engine: &Engine,
        directory: &Path,
        run: &str,
        labels: &Labels,
        valid: Duration,
    ) -> Result<Self, DriverError> {
        let (docker, clock) = (&engine.docker, engine.clock.clone());
        let owner = Owner {
            engine: engine.host.clone(),
            namespace: labels.get(labels::NAMESPACE).cloned().unwrap_or_default(),
        };
        // Without a place for the file the container has to do.
        let lock = LockFile::new(directory, run, &owner).ok();
        // Connecting has told the engine's time.
        let until = clock.now() + whole(valid);
        let created = create(docker, own_name(run, until), labels).await;
        let container = created.map_err(|error| failed("cannot create the run's lease", error))?;
        Ok(Self {
            docker: docker.clone(),
            clock,
            run: run.to_owned(),
            labels: labels.clone(),
            valid,
            state: Mutex::new(State { container, until }),
            renewing: tokio::sync::Mutex::default(),
            released: CancellationToken::new(),
            lock,
        })
    }

    /// The engine's time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now()
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
        self.extend().await?;
        // The answer may have told that the engine's clock was set, or that this machine was suspended.
        let left = self.state().until - self.now();
        if left < whole(self.valid) / 2 || left > whole(self.valid) * 2 {
            self.extend().await?;
        }
        self.remove_substitutes().await
    }

    /// Makes the lease last for its whole length from now on.
    async fn extend(&self) -> Result<(), Error> {
        let State { container, until } = self.state();
        let next = self.now() + whole(self.valid);
        // The engine refuses to give a container the name that it has.
        if next == until {
            return Ok(());
        }
        let name = own_name(&self.run, next);
        let options = RenameContainerOptions { name: name.clone() };
        let container = match self.docker.rename_container(&container, options).await {
            // Somebody has removed the engine's stopped containers.
            Err(error) if is_missing(&error) => create(&self.docker, name, &self.labels).await?,
            renamed => renamed.map(|()| container)?,
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            State { container, until: next };
        Ok(())
    }

    /// Removes what other machines have made while they saw no lease of this run.
    async fn remove_substitutes(&self) -> Result<(), Error> {
        let mut filters = labels::filter(RUN, Some(&self.run));
        filters.insert("name".to_owned(), vec![object_name(&self.run, SUBSTITUTE)]);
        let options =
            ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        for container in self.docker.list_containers(Some(options)).await? {
            let names = container.names.unwrap_or_default();
            let is_substitute = names
                .iter()
                .any(|name| matches!(Expiry::of(name, &self.run), Some(Expiry::Substitute(_))));
            if let Some(id) = container.id.filter(|_| is_substitute) {
                remove_container(&self.docker, &id).await?;
            }
        }
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

    /// Lets the lease expire at once, when the engine keeps something of the run: that it is dead is known to
    /// everybody then.
    pub async fn expire(&self) -> Result<(), DriverError> {
        self.released.cancel();
        drop(self.renewing.lock().await);
        let options = RenameContainerOptions { name: own_name(&self.run, EXPIRED) };
        match self.docker.rename_container(&self.state().container, options).await {
            Err(error) if !is_missing(&error) => {
                return Err(failed("cannot end the run's lease", error));
            }
            _ => {}
        }
        if let Some(lock) = &self.lock {
            lock.remove();
        }
        Ok(())
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
            lock.remove();
        }
        Ok(())
    }
}

/// What the name of a lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// When the run's own lease expires, in the engine's time.
    Own(i64),
    /// When a substitute for a missing lease expires.
    Substitute(i64),
}

impl Expiry {
    /// `None` if the name is that of no lease of this run.
    pub fn of(name: &str, run: &str) -> Option<Self> {
        let rest = name.trim_start_matches('/').strip_prefix(&object_name(run, ""))?;
        match (rest.strip_prefix(OWN), rest.strip_prefix(SUBSTITUTE)) {
            (Some(until), _) => until.parse().ok().map(Self::Own),
            (None, Some(until)) => until.parse().ok().map(Self::Substitute),
            (None, None) => None,
        }
    }
}

fn own_name(run: &str, until: i64) -> String {
    object_name(run, &format!("{OWN}{until}"))
}

/// Makes a lease for a run that has none, with the labels of something of that run. Others do not remove
/// anything of it until the lease has expired, nor after that if the run has renewed its own meanwhile.
pub async fn substitute(
    docker: &Docker,
    run: &str,
    labels: &Labels,
    now: i64,
) -> Result<(), Error> {
    let length = labels.get(LEASE).and_then(|length| length.parse().ok());
    let length: i64 = length.unwrap_or_else(|| whole(super::config::PATIENCE));
    let until = now + length.clamp(*LENGTHS.start(), *LENGTHS.end());
    let name = object_name(run, &format!("{SUBSTITUTE}{until}"));
    match create(docker, name, &labels::of_same_run(labels)).await {
        // Somebody else has made it at the same moment.
        Err(error) if is_conflict(&error) => Ok(()),
        created => created.map(drop),
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

/// In seconds.
fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_leases_from_everything_else() {
        for (name, expiry) in [
            ("/ci-run-until-12", Some(Expiry::Own(12))),
            ("ci-run-missing-until-12", Some(Expiry::Substitute(12))),
            ("/ci-run-12", None),
            ("/ci-run-until-", None),
            ("/ci-run-until-12-x", None),
            ("/ci-other-until-12", None),
            ("/my-ci-run-until-12", None),
        ] {
            assert_eq!(Expiry::of(name, "run"), expiry, "{name}");
        }
    }
}
