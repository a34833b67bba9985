//! What a running pipeline can reach: its tasks, its volumes and the log.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::driver::{Capabilities, Driver, RunIdentity};
use crate::event::EventSink;
use crate::project::{Directories, ProjectFiles};
use crate::secret::Secrets;
use crate::shell::FailureShell;
use crate::stop::Stop;
use crate::task_runner::TaskRunner;
use crate::volume::{VolumeCache, VolumeManager};

/// Shared by everything that works for one run.
pub struct RunContext {
    pub identity: RunIdentity,
    pub driver_name: &'static str,
    pub capabilities: Capabilities,
    pub given: Given,
    pub tasks: Arc<TaskRunner>,
    pub volumes: Arc<VolumeManager>,
    pub files: ProjectFiles,
    pub events: EventSink,
    /// Where drivers work; the isolate has a thread of its own.
    pub runtime: Handle,
}

/// What the user has given to the pipeline on the command line.
#[derive(Clone, Debug)]
pub struct Given {
    /// What follows `--`.
    pub args: Vec<String>,
    /// The image of tasks that name none.
    pub image: Option<String>,
    pub directories: Directories,
    pub secrets: Secrets,
}

impl RunContext {
    pub fn new(
        identity: RunIdentity,
        given: Given,
        driver: Arc<dyn Driver>,
        cache: Option<Arc<VolumeCache>>,
        events: EventSink,
        stop: Arc<Stop>,
        shell: Option<FailureShell>,
    ) -> Self {
        let volumes = Arc::new(VolumeManager::new(driver.clone(), events.clone(), cache));
        let runner =
            TaskRunner::new(driver.clone(), volumes.clone(), events.clone(), stop.clone(), shell);
        let directories = given.directories.clone();
        let files = ProjectFiles::new(directories, volumes.clone(), events.clone(), stop);
        let tasks = Arc::new(runner);
        Self {
            identity,
            driver_name: driver.name(),
            capabilities: driver.capabilities(),
            given,
            tasks,
            volumes,
            files,
            events,
            runtime: Handle::current(),
        }
    }
}
