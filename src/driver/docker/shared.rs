//! What the tasks of a run have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;
use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::DockerConfig;
use super::failure::{failed, is_missing, words};
use super::image::Images;
use super::labels::{Labels, network_name, object_name};
use super::lease::Lease;
use super::plan::Plan;
use super::shell::Kept;
use super::way::Way;
use crate::driver::kept::AllKept;
use crate::driver::name::encoded;
use crate::driver::{DriverError, NoticeSink};
use crate::task::TaskExit;
use crate::volume::VolumeName;

/// The network of a run, or why there is none. `None` is the engine's default.
type Network = Result<Option<String>, String>;

pub struct Shared {
    pub docker: Docker,
    pub way: Way,
    /// Whether the engine's directories may be this machine's.
    pub is_local: bool,
    pub config: DockerConfig,
    pub run: String,
    pub labels: Labels,
    pub notices: NoticeSink,
    pub images: Images,
    pub lease: Arc<Lease>,
    /// The engine's names of the volumes that exist, and their sizes as far as these were asked for.
    volumes: Mutex<HashMap<VolumeName, (String, Option<u64>)>>,
    network: Mutex<Option<watch::Receiver<Option<Network>>>>,
    /// Whether users of containers are other ones on the engine's machine.
    maps_users: OnceCell<bool>,
    /// How many names were given to containers and volumes.
    names: AtomicU64,
    /// What stays of tasks that have ended.
    pub kept: AllKept<Kept>,
    /// One for each container that may be starting.
    pub starts: Semaphore,
    /// Fires when everything is to end.
    pub closing: CancellationToken,
    /// Fires when the engine has not answered for too long.
    pub lost: CancellationToken,
    /// Everything that has to end before the run does.
    pub tasks: TaskTracker,
}

/// More at the same time do not start sooner, and engines lose [count](super::sweep) of them.
const STARTS: usize = 2;

impl Shared {
    pub fn new(
        engine: super::engine::Engine,
        config: DockerConfig,
        run: String,
        labels: Labels,
        lease: Arc<Lease>,
        notices: NoticeSink,
    ) -> Self {
        let docker = engine.docker;
        Self {
            images: Images::new(docker.clone(), config.pull, notices.clone()),
            docker,
            way: engine.way,
            is_local: engine.is_local,
            config,
            run,
            labels,
            notices,
            lease,
            volumes: Mutex::default(),
            network: Mutex::default(),
            maps_users: OnceCell::new(),
            names: AtomicU64::new(0),
            kept: AllKept::default(),
            starts: Semaphore::new(STARTS),
            closing: CancellationToken::new(),
            lost: CancellationToken::new(),
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
                Err(DriverError::Io { context: context(), source: silent(self.config.patience) })
            }
        }
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

    /// Makes sure that the volumes of a plan are still there. The engine would make new ones instead of those
    /// that somebody has removed.
    pub async fn find_volumes(&self, plan: &Plan) -> Result<(), DriverError> {
        try_join_all(plan.volumes().map(async |(name, volume)| {
            match self.docker.inspect_volume(volume).await {
                Ok(_) => Ok(()),
                Err(error) if is_missing(&error) => Err(removed(name)),
                Err(error) => Err(failed(format!("cannot look for volume `{name}`"), error)),
            }
        }))
        .await
        .map(drop)
    }

    /// Whether files of a container have other owners on the engine's machine, as on engines that do not run
    /// as root, or map users.
    pub async fn maps_users(&self) -> bool {
        let ask = async || match self.docker.info().await {
            Ok(info) => maps_users(&info.security_options.unwrap_or_default()),
            // Archives are right in any case.
            Err(_) => true,
        };
        *self.maps_users.get_or_init(ask).await
    }

    /// The network of the run's tasks, which see each other and no other run's. `None` is the
    /// engine's default.
    pub async fn network(self: &Arc<Self>) -> Result<Option<String>, DriverError> {
        if let Some(network) = &self.config.network {
            return Ok(Some(network.clone()));
        }
        loop {
            // Whoever asks first may go away before the engine has answered, but the network is made all
            // the same, and once.
            let making = self.lock_network().get_or_insert_with(|| self.start_network()).clone();
            let Some(network) = made(making.clone()).await? else { return Ok(None) };
            let found = self.docker.inspect_network(&network, None::<InspectNetworkOptions>).await;
            if !found.is_err_and(|error| is_missing(&error)) {
                return Ok(Some(network));
            }
            // Somebody has removed it while nothing was in it, as `docker network prune` does.
            self.lock_network().take_if(|current| current.same_channel(&making));
        }
    }

    fn lock_network(&self) -> MutexGuard<'_, Option<watch::Receiver<Option<Network>>>> {
        // No holder can panic.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_network(self: &Arc<Self>) -> watch::Receiver<Option<Network>> {
        let (shared, (told, made)) = (self.clone(), watch::channel(None));
        self.tasks.spawn(async move { told.send_replace(Some(shared.make_network().await)) });
        made
    }

    async fn make_network(&self) -> Network {
        let request = NetworkCreateRequest {
            name: network_name(&self.run),
            labels: Some(self.labels.clone()),
            ..Default::default()
        };
        match self.docker.create_network(request).await {
            Ok(made) => Ok(Some(made.id)),
            // Engines have some thirty address ranges by default.
            Err(error) if error.to_string().contains("address pool") => {
                (self.notices)(
                    "the engine has no address range left for a network of the run's own, so \
                     tasks share the default network with other runs; remove unused networks \
                     with `docker network prune`"
                        .into(),
                );
                Ok(None)
            }
            Err(error) => Err(words(error)),
        }
    }
}

async fn made(mut making: watch::Receiver<Option<Network>>) -> Result<Option<String>, DriverError> {
    let lost = || "the driver stopped attending to it".to_owned();
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
pub fn removed(name: &VolumeName) -> DriverError {
    DriverError::Io {
        context: format!("lost volume `{name}`"),
        source: std::io::Error::other(
            "somebody has removed it from the engine, as `docker volume prune` does",
        ),
    }
}

/// By what `docker info` calls security options, such as `name=seccomp,profile=builtin`.
fn maps_users(options: &[String]) -> bool {
    let names = options.iter().filter_map(|option| option.split(',').next());
    names.into_iter().any(|name| matches!(name, "name=userns" | "name=rootless"))
}

/// What there is to say of an engine that has been asked something for so long.
pub fn silent(patience: Duration) -> std::io::Error {
    let reason =
        format!("the engine has not answered for {}", humantime::format_duration(patience));
    std::io::Error::new(std::io::ErrorKind::TimedOut, reason)
}

/// Runs something that goes on for as long as it has to when its caller goes away, and then learns of
/// that by the end of what it is given.
pub async fn attended<F>(
    tasks: &TaskTracker,
    name: String,
    work: impl FnOnce(oneshot::Receiver<()>) -> F,
) -> Result<TaskExit, DriverError>
where
    F: Future<Output = Result<TaskExit, DriverError>> + Send + 'static,
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
            source: std::io::Error::other("the driver stopped attending to it"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_say_whether_they_map_users() {
        for (options, maps) in [
            (&["name=apparmor", "name=seccomp,profile=builtin"][..], false),
            (&["name=seccomp,profile=builtin", "name=userns"], true),
            (&["name=rootless,x=y"], true),
            (&[], false),
        ] {
            let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
            assert_eq!(maps_users(&options), maps, "{options:?}");
        }
    }
}
