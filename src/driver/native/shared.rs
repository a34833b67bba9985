//! What the tasks of a run have in common.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{MountMode, NativeConfig};
use super::directories::Directories;
use super::environment::Environment;
use super::fixtures::Fixtures;
use super::oom::OomKills;
use super::open_files::OpenFiles;
use super::root::Location;
use crate::driver::{DriverError, NoticeSink};
use crate::task::{ContainerSpec, Limits};
use crate::volume::VolumeName;
use supervise::Supervision;

pub struct Shared {
    pub config: NativeConfig,
    pub notices: NoticeSink,
    pub environment: Environment,
    pub location: Location,
    pub directories: Arc<Directories>,
    pub fixtures: Fixtures,
    pub supervision: Supervision,
    /// The volumes that exist.
    pub volumes: Mutex<HashMap<VolumeName, PathBuf>>,
    /// What stays of tasks that have ended, which nothing waits for.
    pub kept: TaskTracker,
    /// One for each task that may be starting.
    pub starts: Semaphore,
    pub open_files: OpenFiles,
    pub oom_kills: OomKills,
    /// Fires when everything is to end.
    pub closing: CancellationToken,
    /// What runs tasks, and ends before volumes are read.
    pub tasks: TaskTracker,
    /// What removes directories that nobody uses any more.
    pub cleaning: TaskTracker,
    /// Bind mounts turned out to be impossible.
    pub no_mounts: AtomicBool,
    /// Which settings were reported as ignored.
    pub ignored: [AtomicBool; 4],
}

/// Settings of tasks and volumes that this driver does not apply.
#[derive(Clone, Copy)]
pub enum Ignored {
    Image,
    Privileged,
    Limits,
    VolumeSize,
}

impl Shared {
    pub fn notify(&self, notice: String) {
        (self.notices)(notice);
    }

    pub fn grace(&self) -> Duration {
        self.config.grace
    }

    pub fn volume(&self, name: &VolumeName) -> Option<PathBuf> {
        // No holder can panic.
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether volumes are linked instead of mounted.
    pub fn links(&self) -> bool {
        self.config.mounts == MountMode::Link || self.no_mounts.load(Ordering::Relaxed)
    }

    /// Whether a task has found that this system gives it no namespaces.
    pub fn has_no_namespaces(&self) -> bool {
        self.no_mounts.load(Ordering::Relaxed)
    }

    /// Goes over to links, if the user lets the driver choose.
    pub fn give_up_mounts(&self, reason: &str) -> Result<(), DriverError> {
        if self.config.mounts == MountMode::Bind {
            return Err(DriverError::Refused(format!(
                "volumes cannot be mounted, run as root, allow user namespaces or use \
                 `mounts=link`: {reason}"
            )));
        }
        if !self.no_mounts.swap(true, Ordering::Relaxed) {
            self.notify(format!(
                "volumes are symbolic links in the working directory, because they cannot be \
                 mounted here ({reason}); tools that resolve links see other paths"
            ));
        }
        Ok(())
    }

    /// Says once a run what of a task has no effect.
    pub fn notify_ignored(&self, container: &ContainerSpec) {
        let ContainerSpec { image, privileged, limits, .. } = container;
        if !image.is_empty() {
            self.ignored(Ignored::Image, "image");
        }
        if *privileged {
            self.ignored(Ignored::Privileged, "privileged");
        }
        if *limits != Limits::default() {
            self.ignored(Ignored::Limits, "containerLimits");
        }
    }

    /// Removes what was put aside, if there is anything, without anybody waiting for it.
    pub fn sweep(&self) {
        if self.directories.needs_sweep() {
            let directories = self.directories.clone();
            self.cleaning.spawn_blocking(move || directories.sweep());
        }
    }

    pub fn ignored(&self, what: Ignored, name: &str) {
        if !self.ignored[what as usize].swap(true, Ordering::Relaxed) {
            let what = match what {
                Ignored::VolumeSize => "keeps volumes as directories",
                _ => "runs tasks as processes of this machine",
            };
            self.notify(format!("the `native` driver {what}, `{name}` has no effect"));
        }
    }
}

/// Runs something on a thread that may wait for the file system.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DriverError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| DriverError::Io {
        context: "a thread of the `native` driver failed".into(),
        source: std::io::Error::other(error),
    })
}
