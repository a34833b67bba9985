//! Tasks as containers of a Docker engine, and volumes as its volumes.
//!
//! Everything that a run makes carries [labels], so that it can be found again when the run has been
//! killed; a [lease] tells whether a run is alive.

mod clock;
mod config;
mod container;
mod credentials;
mod destination;
mod diagnosis;
mod engine;
mod exec;
mod failure;
mod image;
mod init;
mod labels;
mod lease;
mod lock_file;
mod monitor;
mod output;
mod plan;
mod process;
mod registration;
mod removal;
mod sandbox;
mod secrets;
mod shared;
mod shell;
mod ssh;
mod sweep;
mod task_supervisor;
mod transport;
mod users;
mod volume;
mod volume_archive;
mod writable;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub use config::{DockerConfig, HOST, Host, Pull};
pub use registration::REGISTRATION;

use self::lease::Lease;
use self::plan::ContainerPlan;
use self::shared::{Shared, silent, supervised};
use self::shell::DockerKept;
use self::task_supervisor::TaskSupervisor;
use super::{
    Capabilities, Driver, DriverError, NoticeSink, Pruned, RunIdentity, Sandbox, TaskEnd,
    UpdateSink, Volume,
};
use crate::task::{SandboxSpec, TaskSpec};
use crate::volume::VolumeName;
use sweep::{Cleared, Objects};
use transfer::VolumeStream;

/// The `docker` driver.
pub struct DockerDriver {
    shared: Arc<Shared>,
    closed: OnceCell<()>,
}

/// How long to wait at the end for an engine that was lost.
const LAST_TRY: Duration = Duration::from_secs(10);

/// How long an engine may take to answer that it is there, when the run has to stop.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than a run it may take to remove what others left behind.
const LAST_SWEEP: Duration = Duration::from_secs(30);

/// Where runs of this machine keep the files that tell whether they are alive.
fn leases() -> PathBuf {
    crate::process::state::directory().join("docker")
}

impl DockerDriver {
    /// A volume's content by way of the engine, whether or not it is also a directory of this machine.
    pub async fn stream(&self, name: &VolumeName) -> Result<Arc<dyn VolumeStream>, DriverError> {
        volume::stream(&self.shared, name).await
    }

    /// Connects to the engine, and starts to clear what killed runs left behind.
    pub async fn start(
        config: &DockerConfig,
        identity: &RunIdentity,
        notices: NoticeSink,
    ) -> Result<Self, DriverError> {
        let engine = engine::connect(config).await?;
        let labels = labels::of_run(config, identity);
        let (directory, valid) = (leases(), config.patience);
        let lease = Lease::take(&engine, &directory, &identity.run, &labels, valid).await?;
        let shared = Arc::new(Shared::new(
            engine,
            config.clone(),
            identity.run.clone(),
            labels,
            Arc::new(lease),
            notices,
        ));
        if let Err(error) = shared.find_network().await {
            // The reason counts, and a lease that stays expires.
            _ = shared.lease.release().await;
            return Err(error);
        }
        let keeper = shared.clone();
        // Until the very end: volumes are read when tasks have ended.
        tokio::spawn(async move { keeper.lease.keep(&keeper.lost).await });
        let sweeper = shared.clone();
        shared.tasks.spawn(async move {
            match sweep_before(&sweeper).await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => {
                    (sweeper.notices)(format!("removed {removed} that killed runs left behind"));
                }
                Err(error) => (sweeper.notices)(format!(
                    "what killed runs left behind is still there, remove it with `ci prune`: {error}"
                )),
            }
        });
        Ok(Self { shared, closed: OnceCell::new() })
    }
}

/// Removes what killed runs of the same namespace left behind, unless it takes longer than this run.
async fn sweep_before(shared: &Shared) -> Result<Pruned, DriverError> {
    let Shared { engine, config, run, .. } = shared;
    let sweep = async {
        let namespace = Some(config.namespace());
        let swept = sweep::sweep(engine, &leases(), namespace, Some(run)).await?;
        Ok(swept.removed)
    };
    let swept = async {
        tokio::select! {
            swept = sweep => swept,
            () = async {
                shared.closing.cancelled().await;
                tokio::time::sleep(LAST_SWEEP).await;
            } => Err(DriverError::Refused("the engine has not removed it by the end of the run".into())),
        }
    };
    shared.unless_lost(|| "the engine is lost".to_owned(), swept).await
}

/// Removes what runs left behind that are no more, of one namespace or of all.
pub async fn prune(config: &DockerConfig) -> Result<Pruned, DriverError> {
    let engine = engine::connect(config).await?;
    let identity =
        RunIdentity { run: uuid::Uuid::new_v4().to_string(), pipeline: "prune".to_owned() };
    // Its own lease tells whether the engine is lost.
    let labels = labels::of_run(config, &identity);
    let (directory, valid) = (leases(), config.patience);
    let lease = Lease::take(&engine, &directory, &identity.run, &labels, valid).await?;
    let namespace = config.namespace.as_deref();
    let (own, lost) = (Some(identity.run.as_str()), CancellationToken::new());
    let watch = async {
        tokio::select! {
            () = lease.keep(&lost) => {}
            () = lost.cancelled() => {}
        }
    };
    let swept = tokio::select! {
        swept = sweep::sweep(&engine, &directory, namespace, own) => swept,
        () = watch => {
            let context = "cannot remove what runs left behind".to_owned();
            return Err(DriverError::Io { context, source: silent(valid) });
        }
    };
    lease.release().await?;
    match swept? {
        Cleared { removed, miscounted } if miscounted.is_empty() => Ok(removed),
        Cleared { miscounted, .. } => Err(DriverError::Refused(sweep::miscounted(&miscounted))),
    }
}

/// Takes the engine for lost when it does not answer for a while.
async fn give_up(shared: &Shared) {
    let patience = shared.config.patience.min(LAST_PATIENCE);
    while matches!(tokio::time::timeout(patience, shared.docker.ping()).await, Ok(Ok(_))) {
        tokio::time::sleep(patience / 4).await;
    }
    _ = shared.silence.set(patience);
    shared.lost.cancel();
}

impl Drop for DockerDriver {
    fn drop(&mut self) {
        self.shared.closed.cancel();
        self.shared.lease.abandon();
    }
}

#[async_trait]
impl Driver for DockerDriver {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn capabilities(&self) -> Capabilities {
        REGISTRATION.capabilities
    }

    async fn create_volume(
        &self,
        name: &VolumeName,
        size: Option<u64>,
    ) -> Result<Volume, DriverError> {
        let (shared, wanted) = (self.shared.clone(), name.clone());
        // To the end, even if nobody waits for it any more: the run's end has to know of it.
        let created = async move {
            let lost = || format!("cannot create volume `{wanted}`");
            shared.unless_lost(lost, volume::create(&shared, &wanted, size)).await
        };
        self.shared.tasks.spawn(created).await.map_err(|error| DriverError::Io {
            context: format!("lost volume `{name}`"),
            source: error.into(),
        })?
    }

    async fn run(
        &self,
        spec: &TaskSpec,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd {
        let planned = plan::command(spec).and_then(|command| {
            Ok((
                command,
                Arc::new(ContainerPlan::new(spec.sandbox(), |name| self.shared.volume(name))?),
            ))
        });
        let (command, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => return Err(error).into(),
        };
        let (shared, task) = (self.shared.clone(), spec.clone());
        let ended = supervised(&self.shared.tasks, spec.name.clone(), |abandoned| async move {
            let (guard, lost) = (shared.clone(), format!("lost task `{}`", task.name));
            let attempt =
                TaskSupervisor { shared, spec: task, plan, command, updates, cancel, abandoned };
            guard.unless_lost(|| lost, attempt.run()).await
        });
        DockerKept::end(&self.shared, spec, ended.await)
    }

    async fn open_sandbox(&self, spec: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
        sandbox::open(&self.shared, spec).await
    }

    fn hurry(&self) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = give_up(&shared) => {}
                () = shared.closed.cancelled() => {}
            }
        });
    }

    async fn end_tasks(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    async fn close(&self) -> Result<(), DriverError> {
        let close = async || {
            self.end_tasks().await;
            let Shared { lost, config, .. } = &*self.shared;
            tokio::select! {
                cleared = clear(&self.shared) => return cleared,
                () = lost.cancelled() => {}
            }
            // It may be there again.
            let patience = config.patience.min(LAST_TRY);
            let cleared = tokio::time::timeout(patience, clear(&self.shared)).await;
            self.shared.lease.abandon();
            let source = match cleared {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => std::io::Error::other(error),
                Err(_) => self.shared.silent(),
            };
            let context = "what the run has made is still on the engine, remove it with `ci prune`";
            Err(DriverError::Io { context: context.into(), source })
        };
        self.closed.get_or_try_init(close).await.copied()
    }
}

/// Removes all that has the run's label, whatever this process remembers of it, and the lease last.
async fn clear(shared: &Shared) -> Result<(), DriverError> {
    let Shared { docker, run, lease, notices, .. } = shared;
    let mut objects = Objects::find(docker, labels::RUN, Some(run)).await?;
    // Removing may take long.
    let leases = objects.take_leases();
    let Cleared { miscounted, .. } = objects.remove(docker, true).await?;
    if !miscounted.is_empty() {
        notices(sweep::miscounted(&miscounted));
        return lease.expire().await;
    }
    lease.release().await?;
    leases.remove(docker, false).await.map(drop)
}
