//! One task, from its container's creation to its removal.

use std::sync::Arc;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{InspectContainerOptions, KillContainerOptions};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::container;
use super::diagnosis::Subject;
use super::init;
use super::monitor::{Monitor, Stop};
use super::plan::ContainerPlan;
use super::process::{Process, Signal};
use super::secrets;
use super::shared::Shared;
use super::shell::Kept;
use crate::driver::{DriverError, TaskUpdate, UpdateSink};
use crate::task::{TaskExit, TaskSpec};

/// The code of what SIGKILL has ended.
pub const CODE_KILLED: i64 = 137;

/// One run of one task.
pub struct TaskSupervisor {
    pub shared: Arc<Shared>,
    pub spec: TaskSpec,
    pub plan: Arc<ContainerPlan>,
    pub command: Vec<String>,
    pub updates: UpdateSink,
    pub cancel: CancellationToken,
    /// Ends when nobody waits for the result any more.
    pub abandoned: oneshot::Receiver<()>,
}

impl TaskSupervisor {
    /// Returns with the result what is kept of the task.
    pub async fn run(self) -> Result<(Result<TaskExit, DriverError>, Option<Kept>), DriverError> {
        let Self { shared, mut spec, plan, command, updates, cancel, mut abandoned } = self;
        let mut stop =
            Stop { cancel: &cancel, closing: &shared.closing, abandoned: &mut abandoned };
        let command = match spec.exec.command.path.is_empty() {
            false => command,
            true => {
                let own = own_command(&shared, &spec, &updates);
                let own = tokio::select! {
                    biased;
                    () = stop.requested() => return Ok((Ok(TaskExit::Cancelled), None)),
                    own = own => own?,
                };
                // From here on it is a command like any other.
                let command: Vec<String> = own.into_iter().chain(command).collect();
                spec.exec.command.path.clone_from(&command[0]);
                spec.exec.command.args = command[1..].to_vec();
                command
            }
        };
        let has_secrets = plan.has_secrets();
        let with_stdin = has_secrets || spec.exec.stdin.is_some();
        let reports = shared.engine.has_reports;
        let command = match (reports, has_secrets) {
            // The engine's own init process reports nothing.
            (true, _) => init::words(command, 1),
            // The launcher looks for nothing in `PATH`.
            (false, true) => secrets::unreported(command),
            (false, false) => command,
        };
        let command = if has_secrets { secrets::words(command) } else { command };
        let stopped = stop.requested();
        let started =
            container::start(&shared, &plan, command, with_stdin, Some(&updates), stopped).await?;
        let Some(container) = started else { return Ok((Ok(TaskExit::Cancelled), None)) };
        tell_start(&updates, stop.requested()).await;
        let process = Main { docker: &shared.docker, id: &container.id, reports };
        let mut read = spec.exec.stdin.as_deref();
        let with_secrets = has_secrets.then(|| secrets::input(&spec.exec, &spec.container.secrets));
        if with_secrets.is_some() {
            read = with_secrets.as_deref();
        }
        let monitor = Monitor { spec: &spec, read, grace: shared.config.grace, updates, stop };
        let watching = monitor.watch(&process, container.streams);
        let lost = || format!("lost task `{}`", spec.name);
        let result = match shared.unless_lost(lost, watching).await {
            Ok(None) => Ok(TaskExit::Cancelled),
            Ok(Some(ended)) => {
                // Below a shell that goes on, an end for want of memory shows in no code.
                let asks = ended.code == CODE_KILLED || !spec.container.mounts.is_empty();
                let out_of_memory = asks && process.was_out_of_memory().await;
                if out_of_memory && ended.code == CODE_KILLED {
                    Ok(TaskExit::OutOfMemory)
                } else {
                    let directory = plan.directory();
                    let (docker, container) = (&shared.docker, container.id.as_str());
                    let subject = Subject { docker, container, spec: &spec, directory };
                    let exit = shared.unless_lost(lost, ended.exit(&subject, &cancel)).await;
                    if out_of_memory { exit.map(after_kill) } else { exit }
                }
            }
            Err(error) => Err(error),
        };
        if spec.keep {
            let (container, start) = (container.id, None);
            let kept = Kept { container, plan, start, is_own: true, _here: None };
            return Ok((result, Some(kept)));
        }
        // The result need not wait for that.
        container::remove_soon(&shared, container.id);
        Ok((result, None))
    }
}

/// Says that the command runs. A listener that does not listen holds up no end.
pub async fn tell_start(updates: &UpdateSink, stopped: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        _ = updates.send(TaskUpdate::Started) => {}
        () = stopped => {}
    }
}

/// A container's own process.
struct Main<'a> {
    docker: &'a Docker,
    id: &'a str,
    reports: bool,
}

#[async_trait]
impl Process for Main<'_> {
    async fn code(&self, _: &CancellationToken) -> Result<i64, Error> {
        container::code(self.docker, self.id).await
    }

    async fn signal(&self, signal: Signal) {
        let signal = match signal {
            Signal::Term => "SIGTERM",
            Signal::Kill => "SIGKILL",
        };
        let options = KillContainerOptions { signal: signal.into() };
        _ = self.docker.kill_container(self.id, Some(options)).await;
    }

    fn reports(&self) -> bool {
        self.reports
    }

    async fn failed_with(&self, _: &[u8]) -> bool {
        // Starting the container would have failed.
        false
    }
}

/// How a command ended below which the system has ended something for want of memory.
pub fn after_kill(exit: TaskExit) -> TaskExit {
    match exit {
        TaskExit::Code(code) => TaskExit::CodeAfterKill(code),
        exit => exit,
    }
}

impl Main<'_> {
    async fn was_out_of_memory(&self) -> bool {
        let found = self.docker.inspect_container(self.id, None::<InspectContainerOptions>).await;
        found.ok().and_then(|found| found.state?.oom_killed).unwrap_or(false)
    }
}

/// What a task's image runs itself.
async fn own_command(
    shared: &Shared,
    spec: &TaskSpec,
    updates: &UpdateSink,
) -> Result<Vec<String>, DriverError> {
    let image = &spec.container.image;
    let lost = || format!("cannot create a container for `{}`", spec.name);
    let found = shared.unless_lost(lost, shared.images.ensure(image, Some(updates))).await?;
    match found.command.is_empty() {
        true => Err(DriverError::Refused(format!(
            "the image `{image}` has no command of its own, say with `path` what to run"
        ))),
        false => Ok(found.command),
    }
}
