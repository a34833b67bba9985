//! Tasks as processes of this machine, and volumes as directories.
//!
//! A run has a [run directory](run_directory): a directory that is stable for its pipeline and its own while it
//! lasts. Each task has a working directory there and a [reaper](supervisor), a small process that
//! the command and everything it starts stays below.

mod config;
mod directories;
mod environment;
mod fixtures;
mod mounts;
mod oom;
mod open_files;
mod prepared_task;
mod pump;
mod registration;
mod removing;
mod root;
mod run_directory;
mod sandbox;
mod secrets;
mod shared;
mod shell;
mod task_supervisor;
mod user;

use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{MountMode, NativeConfig};
pub use registration::REGISTRATION;

use self::directories::Directories;
use self::environment::Environment;
use self::oom::OomKills;
use self::open_files::OpenFiles;
use self::prepared_task::{TaskPlan, WorkArea};
use self::removing::removing;
use self::shared::{Ignored, Shared, blocking};
use self::task_supervisor::Scope;
use super::{
    Capabilities, Driver, DriverError, NoticeSink, Pruned, RunIdentity, Sandbox, TaskEnd,
    UpdateSink, Volume,
};
use crate::process::limits;
use crate::task::{SandboxSpec, TaskSpec};
use crate::volume::VolumeName;
use supervise::Supervision;
use transfer::{LocalDirectory, VolumeAccess};

/// The `native` driver.
pub struct NativeDriver {
    shared: Arc<Shared>,
    closed: OnceCell<()>,
}

impl NativeDriver {
    /// Takes a slot and starts the supervisor, without waiting until that is up.
    pub async fn start(
        config: &NativeConfig,
        identity: &RunIdentity,
        notices: NoticeSink,
    ) -> Result<Self, DriverError> {
        let (config, identity) = (config.clone(), identity.clone());
        let shared = blocking(move || start(config, &identity, notices)).await??;
        let shared = Arc::new(shared);
        let left = shared.clone();
        shared.cleaning.spawn_blocking(move || {
            left.directories.sweep();
            run_directory::remove_leftovers(&left.location.namespace, &left.location.root);
        });
        Ok(Self { shared, closed: OnceCell::new() })
    }
}

/// Removes what runs left behind that are no more, of one namespace or of all.
pub async fn prune(config: &NativeConfig) -> Result<Pruned, DriverError> {
    let (root, namespace) = (config.dir.clone(), config.namespace.clone());
    let root = root.unwrap_or_else(crate::process::state::directory);
    let directories = blocking(move || {
        let all = root.join("native");
        let is_there = files::trust::exists(&all).map_err(|error| DriverError::Unavailable {
            driver: "native",
            reason: format!("nothing is removed below `{}`: {error}", root.display()),
        })?;
        if !is_there {
            return Ok(0);
        }
        let namespaces = match namespace {
            Some(name) => vec![all.join(name)],
            None => {
                let entries = std::fs::read_dir(&all).into_iter().flatten().flatten();
                entries.map(|entry| entry.path()).collect()
            }
        };
        Ok::<_, DriverError>(
            namespaces
                .iter()
                .map(|namespace| run_directory::remove_leftovers(namespace, &root))
                .sum(),
        )
    })
    .await??;
    Ok(Pruned { directories, ..Pruned::default() })
}

fn start(
    config: NativeConfig,
    identity: &RunIdentity,
    notices: NoticeSink,
) -> Result<Shared, DriverError> {
    let unavailable = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| DriverError::Unavailable {
            driver: "native",
            reason: format!("{what}: {error}"),
        }
    };
    let environment = Environment::new(&config.env)?;
    let location = root::place(&config, identity, &notices)?;
    let open_files = limits::open_files();
    let program = config.supervisor.as_deref();
    let directory = &location.directory;
    let supervision =
        Supervision::start(program, open_files.inherited, &directory.path, directory.lock.as_fd())
            .map_err(unavailable("cannot start the supervisor"))?;
    let directories = Directories::new(&location.directory.path)
        .map_err(unavailable("cannot prepare the run's directory"))?;
    // A start takes a processor about as long as a short command does. More of them at the same
    // time only need more memory.
    let starts = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    Ok(Shared {
        environment,
        location,
        directories,
        supervision,
        notices,
        config,
        fixtures: Default::default(),
        volumes: Default::default(),
        kept: TaskTracker::new(),
        starts: Semaphore::new(starts),
        oom_kills: OomKills::find(),
        open_files: OpenFiles::new(open_files.spare(), open_files.limit),
        closing: CancellationToken::new(),
        tasks: TaskTracker::new(),
        cleaning: TaskTracker::new(),
        no_mounts: Default::default(),
        ignored: Default::default(),
    })
}

#[async_trait]
impl Driver for NativeDriver {
    fn name(&self) -> &'static str {
        "native"
    }

    fn capabilities(&self) -> Capabilities {
        REGISTRATION.capabilities
    }

    async fn create_volume(
        &self,
        name: &VolumeName,
        size: Option<u64>,
    ) -> Result<Volume, DriverError> {
        if size.is_some() {
            self.shared.ignored(Ignored::VolumeSize, "size");
        }
        let directory = self.shared.directories.volume(name);
        let (shared, made, key) = (self.shared.clone(), directory.clone(), name.clone());
        blocking(move || {
            let mut volumes = shared.volumes.lock().unwrap_or_else(PoisonError::into_inner);
            if volumes.contains_key(&key) {
                return Ok(());
            }
            std::fs::DirBuilder::new().mode(0o755).create(&made)?;
            // Whatever this process was told to keep to itself.
            std::fs::set_permissions(&made, PermissionsExt::from_mode(0o755))?;
            volumes.insert(key, made);
            Ok(())
        })
        .await?
        .map_err(|source| DriverError::Io {
            context: format!("cannot create volume `{name}`"),
            source,
        })?;
        Ok(Volume {
            name: name.clone(),
            path: directory.to_string_lossy().into_owned(),
            access: VolumeAccess::Local(LocalDirectory {
                staging: self.shared.directories.staging(name),
                path: directory,
            }),
        })
    }

    async fn run(
        &self,
        spec: &TaskSpec,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd {
        let shared = &self.shared;
        shared.notify_ignored(&spec.container);
        // Before anything is waited for, so that tasks of one name get their directories in the
        // order in which they were asked for.
        let area = WorkArea::Own(shared.directories.lease(&spec.name));
        let plan = match TaskPlan::prepare(shared, spec, None).await {
            Ok(plan) => plan,
            Err(error) => return Err(error).into(),
        };
        let Shared { tasks, kept, closing, .. } = &**shared;
        Scope { shared, area, tasks, kept, closing }.run(plan, updates, cancel).await
    }

    async fn open_sandbox(&self, spec: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
        sandbox::open(&self.shared, spec).await
    }

    async fn end_tasks(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    async fn close(&self) -> Result<(), DriverError> {
        let close = async || {
            self.end_tasks().await;
            self.shared.cleaning.close();
            let remove = async {
                self.shared.cleaning.wait().await;
                let shared = self.shared.clone();
                blocking(move || {
                    let io = |context: String| move |source| DriverError::Io { context, source };
                    let directory = &shared.location.directory;
                    let ended = shared.supervision.end(&directory.path);
                    ended.map_err(io("cannot end the supervisor".into()))?;
                    shared.fixtures.release_all();
                    let context = format!("cannot remove `{}`", directory.path.display());
                    directory.remove(&shared.location.root).map_err(io(context))
                })
                .await?
            };
            removing(&self.shared.location.directory.path, remove).await
        };
        self.closed.get_or_try_init(close).await.copied()
    }
}
