//! What the tasks of a run have in common.
//!
//! Two containers start at a time. Engines before 28.1 keep the number of containers in each network in a
//! file and lose an update when several come and go at once (moby/moby#42119). The network of such a run
//! cannot be removed until the engine restarts. With eight starts at a time that happened to 4 of 10 runs of
//! 200 short tasks, with two to none of 16, which took a sixth longer. If it happens all the same, the run
//! says so and does not fail, and `ci prune` says what to do.
//!
//! An engine out of reach must not hold a run forever: a network that is cut says nothing. When the lease
//! could not be renewed before it expired, every other machine takes the run for dead. Then its tasks are
//! lost and the run ends with an error, unless the engine still answers a ping: then it is only busy. A run
//! that has to stop gives up on an engine that has not answered a ping for ten seconds.
//!
//! `docker volume prune`, which many machines run every day, removes volumes that no container uses at the
//! moment, and an engine makes a new volume for a name that it does not know. So each container asks for a
//! label on such recreated volumes, and its volumes are inspected when it has been created; from then on
//! nobody can remove them. A recreated volume is an error and is removed, or an empty cache would be
//! persisted. A network that is gone is made again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{InspectNetworkOptions, RemoveVolumeOptions};
use tokio::sync::{OnceCell, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::config::DockerConfig;
use super::engine::{Engine, patient};
use super::failure::{failed, is_missing, words};
use super::image::Images;
use super::labels::{Labels, SUBSTITUTE, network_name, object_name};
use super::lease::Lease;
use super::plan::Network;
use super::removal::remove_container;
use super::users::Users;
use crate::driver::name::encoded;
use crate::driver::{DriverError, NoticeSink};
use crate::task::ContainerSpec;
use crate::volume::VolumeName;

/// What tasks are connected to, or why there is nothing.
type Made = Result<Network, String>;

pub struct Shared {
    pub engine: Engine,
    /// The engine's client, which most of the driver needs.
    pub docker: Docker,
    pub config: DockerConfig,
    pub run: String,
    pub labels: Labels,
    pub notices: NoticeSink,
    pub images: Images,
    pub lease: Arc<Lease>,
    /// The engine's names of the volumes that exist, and their sizes as far as these were asked for.
    volumes: Mutex<HashMap<VolumeName, (String, Option<u64>)>>,
    network: Mutex<Option<watch::Receiver<Option<Made>>>>,
    users: OnceCell<Users>,
    /// The engine's processor, as it calls that.
    pub architecture: OnceCell<String>,
    /// How many names were given to containers and volumes.
    names: AtomicU64,
    /// One for each container that may be starting.
    pub starts: Semaphore,
    /// Fires when everything is to end.
    pub closing: CancellationToken,
    /// Fires when the engine has not answered for too long. Nothing of the driver waits for it any more
    /// then.
    pub lost: CancellationToken,
    /// For how long it has not answered then.
    pub silence: OnceLock<Duration>,
    /// Fires when nothing of the driver is left.
    pub closed: CancellationToken,
    /// Everything that has to end before the run does.
    pub tasks: TaskTracker,
}

/// More at the same time do not start sooner, and engines lose [count](super::sweep) of them.
const STARTS: usize = 2;

impl Shared {
    pub fn new(
        engine: Engine,
        config: DockerConfig,
        run: String,
        labels: Labels,
        lease: Arc<Lease>,
        notices: NoticeSink,
    ) -> Self {
        let docker = engine.docker.clone();
        Self {
            images: Images::new(docker.clone(), config.pull, config.pull_timeout, notices.clone()),
            docker,
            engine,
            config,
            run,
            labels,
            notices,
            lease,
            volumes: Mutex::default(),
            network: Mutex::default(),
            users: OnceCell::new(),
            architecture: OnceCell::new(),
            names: AtomicU64::new(0),
            starts: Semaphore::new(STARTS),
            closing: CancellationToken::new(),
            lost: CancellationToken::new(),
            silence: OnceLock::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// The result of something that the engine takes its time for, unless the engine is lost meanwhile.
    pub async fn unless_lost<T>(
        &self,
        context: impl FnOnce() -> String,
        work: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, DriverError> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.lost.cancelled() => {
                Err(DriverError::Io { context: context(), source: self.silent() })
            }
        }
    }

    /// What there is to say of an engine that is lost.
    pub fn silent(&self) -> std::io::Error {
        silent(self.silence.get().copied().unwrap_or(self.config.patience))
    }

    /// The engine's name of a volume.
    pub fn volume(&self, name: &VolumeName) -> Option<String> {
        self.known(name).map(|(engine_name, _)| engine_name)
    }

    pub fn known(&self, name: &VolumeName) -> Option<(String, Option<u64>)> {
        // No holder can panic.
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn know(&self, name: &VolumeName, engine_name: String, size: Option<u64>) {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.insert(name.clone(), (engine_name, size));
    }

    /// A name for a new volume that no other one has.
    pub fn volume_name(&self, name: &VolumeName) -> String {
        object_name(&self.run, &format!("{}-{}", self.number(), encoded(name.as_str())))
    }

    /// A name for a new container that no other one has.
    pub fn container_name(&self) -> String {
        object_name(&self.run, &self.number().to_string())
    }

    fn number(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes sure that the volumes of a container that has just been created are the run's, or removes it. The
    /// engine makes new ones instead of those that somebody has removed.
    pub async fn confirm<'a>(
        &self,
        container: &str,
        volumes: impl Iterator<Item = (&'a VolumeName, &'a str)>,
    ) -> Result<(), DriverError> {
        for (name, volume) in volumes {
            let (error, is_substitute) = match self.docker.inspect_volume(volume).await {
                Ok(found) if !found.labels.contains_key(SUBSTITUTE) => continue,
                Ok(_) => (removed(name), true),
                Err(error) => (failed(format!("cannot look for volume `{name}`"), error), false),
            };
            self.remove_container(container).await;
            if is_substitute {
                // Nobody may take it for the volume.
                self.remove_volume(volume).await;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Removes a container. What cannot be removed now is looked for again at the end, which reports it.
    pub async fn remove_container(&self, id: &str) {
        let docker = patient(&self.docker);
        debug!(id, "removes a container");
        tokio::select! {
            _ = remove_container(&docker, id) => {}
            () = self.lost.cancelled() => {}
        }
    }

    /// Removes a volume. What cannot be removed now is looked for again at the end, which reports it.
    pub async fn remove_volume(&self, volume: &str) {
        let options = Some(RemoveVolumeOptions { force: true });
        let docker = patient(&self.docker);
        tokio::select! {
            _ = docker.remove_volume(volume, options) => {}
            () = self.lost.cancelled() => {}
        }
    }

    /// Makes sure that the network is there that the user has named.
    pub async fn find_network(&self) -> Result<(), DriverError> {
        let Some(name) = &self.config.network else { return Ok(()) };
        // Ways of the engine to have none of its own.
        if matches!(name.as_str(), "host" | "none" | "default" | "bridge") || name.contains(':') {
            return Ok(());
        }
        match self.docker.inspect_network(name, None::<InspectNetworkOptions>).await {
            Err(error) if is_missing(&error) => Err(DriverError::Refused(format!(
                "the engine has no network `{name}`, create it with `docker network create {name}`, or name \
                 another with `network=`"
            ))),
            found => found
                .map(drop)
                .map_err(|error| failed(format!("cannot look for network `{name}`"), error)),
        }
    }

    /// Whose the files of containers are on the engine's machine.
    pub async fn users(&self) -> Result<Users, DriverError> {
        let find = async || Users::find(&self.docker, &self.lease.container()).await;
        let users = self.users.get_or_try_init(find).await.copied();
        users.map_err(|error| failed("cannot find out how the engine maps users", error))
    }

    /// The network of a container: that of the run's tasks, which see each other and no other run's, unless the user
    /// has named another one or the container is to have none.
    pub async fn network(self: &Arc<Self>, spec: &ContainerSpec) -> Result<Network, DriverError> {
        if spec.offline {
            return Ok(Network::None);
        }
        if let Some(network) = &self.config.network {
            return Ok(Network::Named(network.clone()));
        }
        loop {
            // Whoever asks first may go away before the engine has answered, but the network is made all
            // the same, and once.
            let making = self.lock_network().get_or_insert_with(|| self.start_network()).clone();
            let network = made(making.clone()).await?;
            let Network::Own(id) = &network else { return Ok(network) };
            let found = self.docker.inspect_network(id, None::<InspectNetworkOptions>).await;
            if !found.is_err_and(|error| is_missing(&error)) {
                return Ok(network);
            }
            // Somebody has removed it while nothing was in it, as `docker network prune` does.
            self.lock_network().take_if(|current| current.same_channel(&making));
        }
    }

    fn lock_network(&self) -> MutexGuard<'_, Option<watch::Receiver<Option<Made>>>> {
        // No holder can panic.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_network(self: &Arc<Self>) -> watch::Receiver<Option<Made>> {
        let (shared, (told, made)) = (self.clone(), watch::channel(None));
        self.tasks.spawn(async move {
            let made = tokio::select! {
                made = shared.make_network() => made,
                () = shared.lost.cancelled() => Err(shared.silent().to_string()),
            };
            told.send_replace(Some(made));
        });
        made
    }

    async fn make_network(&self) -> Made {
        let request = NetworkCreateRequest {
            name: network_name(&self.run),
            labels: Some(self.labels.clone()),
            ..Default::default()
        };
        match self.docker.create_network(request).await {
            Ok(made) => Ok(Network::Own(made.id)),
            // Engines have some thirty address ranges by default.
            Err(error) if error.to_string().contains("address pool") => {
                (self.notices)(
                    "the engine has no address range left for a network of the run's own, so \
                     tasks share the default network with other runs; remove unused networks \
                     with `docker network prune`"
                        .into(),
                );
                Ok(Network::Default)
            }
            Err(error) => Err(words(error)),
        }
    }
}

async fn made(mut making: watch::Receiver<Option<Made>>) -> Result<Network, DriverError> {
    let lost = || "the driver's own work on it has ended unexpectedly".to_owned();
    let made = match making.wait_for(Option::is_some).await {
        Ok(made) => made.clone().unwrap_or_else(|| Err(lost())),
        Err(_) => Err(lost()),
    };
    made.map_err(|reason| DriverError::Io {
        context: "cannot create the run's network".into(),
        source: std::io::Error::other(reason),
    })
}

/// What there is to say of a volume that was there before.
fn removed(name: &VolumeName) -> DriverError {
    DriverError::Io {
        context: format!("lost volume `{name}`"),
        source: std::io::Error::other(
            "somebody has removed it from the engine, as `docker volume prune` does",
        ),
    }
}

/// What there is to say of an engine that has been asked something for so long.
pub fn silent(patience: Duration) -> std::io::Error {
    let reason =
        format!("the engine has not answered for {}", humantime::format_duration(patience));
    std::io::Error::new(std::io::ErrorKind::TimedOut, reason)
}

/// Runs something that goes on for as long as it has to when its caller goes away, and then learns of
/// that by the end of what it is given.
pub async fn supervised<T, F>(
    tasks: &TaskTracker,
    name: String,
    work: impl FnOnce(oneshot::Receiver<()>) -> F,
) -> Result<T, DriverError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, DriverError>> + Send + 'static,
{
    let (outcome, told) = oneshot::channel();
    let (_here, abandoned) = oneshot::channel();
    let work = work(abandoned);
    tasks.spawn(async move {
        _ = outcome.send(work.await);
    });
    told.await.unwrap_or_else(|_| {
        Err(DriverError::Io {
            context: format!("lost task `{name}`"),
            source: std::io::Error::other("the driver's own work on it has ended unexpectedly"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_lost_is_no_fault_of_the_pipeline() {
        let lost = |source| DriverError::Io { context: "cannot create volume `v`".into(), source };
        assert!(lost(silent(Duration::from_secs(5))).is_unavailable());
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!lost(full).is_unavailable());
    }
}
