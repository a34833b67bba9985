//! The contract between a run and whatever executes its tasks.
//!
//! A driver knows nothing of V8, YAML or the terminal. Its configuration is a typed
//! [`DriverConfig`], parsed from a [DSN](crate::driver::dsn) before anything starts.

pub mod docker;
pub mod dsn;
#[cfg(test)]
mod echo;
pub mod native;

mod check;
mod config;
mod name;
mod registration;
mod registry;
mod settings;

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use config::DriverConfig;
pub use registration::{Capabilities, Interrupted, Registration, Setup};
pub use registry::DRIVERS;
pub use settings::DriverConfigError;

use crate::task::{SandboxSpec, Stream, TaskExit, TaskSpec};
use crate::volume::VolumeName;
use transfer::VolumeAccess;

/// Runs tasks and keeps their volumes, for one run of one pipeline.
///
/// All methods may be called at the same time from several threads.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The driver's name in a DSN, such as `native`.
    fn name(&self) -> &'static str;

    /// What pipelines may ask of it.
    fn capabilities(&self) -> Capabilities;

    /// Creates an empty volume that lives until [`close`](Self::close).
    ///
    /// Asking again for the same name returns the same volume with its content.
    async fn create_volume(
        &self,
        name: &VolumeName,
        size: Option<u64>,
    ) -> Result<Volume, DriverError>;

    /// Runs a task to its end.
    ///
    /// Says in `updates` when the command starts: its timeout and its duration count from then on. What a
    /// driver does before, such as a pull, has limits of its own.
    ///
    /// Returns when the command ended and all that it wrote until then was handed to `updates`, in
    /// order within each stream and without loss. A full channel makes the task wait; a driver
    /// never buffers without bound.
    ///
    /// When `cancel` fires, the task is asked to end, then made to end after the driver's grace
    /// period, together with everything that it started. The result is then
    /// [`TaskExit::Cancelled`], and nothing of the task is running any more. Dropping the future
    /// ends the task at once in the same way.
    ///
    /// Processes that outlive their command keep running until [`close`](Self::close) where tasks
    /// are processes of one machine, so that one task may start a service for the next. What they
    /// still write goes to `updates` for as long as somebody listens, and is discarded after that.
    /// Where a task is a container, they end with their command.
    async fn run(&self, spec: &TaskSpec, updates: UpdateSink, cancel: CancellationToken)
    -> TaskEnd;

    /// Opens a sandbox: surroundings as a task has them, in which several commands run.
    ///
    /// It lives until it is closed, or until [`end_tasks`](Self::end_tasks). Dropping the future opens
    /// nothing.
    async fn open_sandbox(&self, spec: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError>;

    /// Says that the run has to stop: from now on, an engine that does not answer is not waited for
    /// longer than some seconds.
    fn hurry(&self) {}

    /// Ends everything that is still running, daemons that tasks left behind and sandboxes included,
    /// and returns when that is done. Volumes keep their content and are written by nobody from then on; no task
    /// can be run any more.
    async fn end_tasks(&self);

    /// Ends everything that is still running, removes everything that was made, and returns when
    /// that is done. Nothing may be called afterwards; a second `close` does nothing.
    async fn close(&self) -> Result<(), DriverError>;
}

/// Surroundings in which several commands run, one after the other or at the same time.
///
/// All methods may be called at the same time from several threads.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// What the driver knows it by.
    fn id(&self) -> &str;

    /// Runs a command to its end, with the promises of [`Driver::run`].
    ///
    /// The task is one that [`SandboxSpec::task`] makes: its container is the sandbox's, and its `work_dir`
    /// is relative to the sandbox's.
    ///
    /// Ending it leaves nothing of it and everything of others. Processes that outlive their command
    /// keep running until [`close`](Self::close). Where a driver cannot pass on what these still write,
    /// writing fails for them.
    ///
    /// In a sandbox that is closed, every command is [`Refused`](DriverError::Refused).
    async fn exec(
        &self,
        spec: &TaskSpec,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd;

    /// Ends all that runs in the sandbox, as a cancelled task is ended, and returns when nothing of the
    /// sandbox is left but its volumes. A second `close` does nothing more.
    async fn close(&self);
}

fn closed_sandbox(name: &str) -> DriverError {
    DriverError::Refused(format!("sandbox `{name}` is closed, start another one"))
}

/// Where a driver tells how far a task is, and hands over what it writes.
pub type UpdateSink = mpsc::Sender<TaskUpdate>;

/// How far a task is.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskUpdate {
    /// Something takes its time before the command can start, such as a pull. `done` is the part of it that
    /// is done, from 0 to 1, if that is known. Of many of these some may be left out.
    Preparing { what: String, done: Option<f64> },
    /// The command runs.
    Started,
    /// The command has written this; never empty.
    Output(Stream, Vec<u8>),
}

/// How a task ended.
pub struct TaskEnd {
    pub exit: Result<TaskExit, DriverError>,
    /// What the command ran in, if that was to be [kept](TaskSpec::keep) and there was a command.
    pub kept: Option<Box<dyn KeptTask>>,
}

impl From<Result<TaskExit, DriverError>> for TaskEnd {
    fn from(exit: Result<TaskExit, DriverError>) -> Self {
        Self { exit, kept: None }
    }
}

/// What a task has run in: its directory, volumes, variables and user.
///
/// A sandbox is not removed while something of its commands is kept. The end of all tasks does not wait.
#[async_trait]
pub trait KeptTask: Send + Sync {
    /// Runs an interactive shell there. Returns when the shell has ended, by itself or because the terminal's
    /// input has, and nothing that it started is running any more.
    async fn shell(&self, terminal: Terminal) -> Result<(), DriverError>;

    /// Removes what is there for the task alone.
    async fn discard(self: Box<Self>);
}

/// A user's terminal, for a shell.
pub struct Terminal {
    /// What the user types. Its end means that the user has gone.
    pub input: mpsc::Receiver<Vec<u8>>,
    /// What the user sees.
    pub output: mpsc::Sender<Vec<u8>>,
    pub size: watch::Receiver<WindowSize>,
    /// Fires when the user has gone, also while input waits that nobody reads.
    pub gone: CancellationToken,
    /// What programs know it by, as in the variable `TERM`.
    pub kind: String,
    /// Fired by the driver when the shell takes over. Until then keys have the meaning that they always
    /// have, so that the user can interrupt whatever takes long.
    pub opened: CancellationToken,
}

/// In characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}

/// The best shell that there is. A terminal makes it interactive.
const SHELL: [&str; 3] =
    ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec /bin/sh"];

/// Where a driver says what a user should know but no result carries.
///
/// Each text is shown once a run, however often it is sent.
pub type NoticeSink = Arc<dyn Fn(String) + Send + Sync>;

/// A volume that exists.
#[derive(Clone)]
pub struct Volume {
    pub name: VolumeName,
    /// Where a task without a mount could find it, in the driver's own terms.
    pub path: String,
    /// How its content gets into a cache and back.
    pub access: VolumeAccess,
}

/// What a driver needs to know of the run that it works for.
#[derive(Clone, Debug)]
pub struct RunIdentity {
    /// Unique to this run.
    pub run: String,
    /// The same for every run of the same pipeline file; safe as a file name.
    pub pipeline: String,
}

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The engine behind the driver cannot be reached or used at all; no task can run.
    #[error("the `{driver}` driver is unavailable: {reason}")]
    Unavailable { driver: &'static str, reason: String },
    /// The request is one that this driver cannot carry out, whatever the engine's state.
    #[error("{0}")]
    Refused(String),
    /// The command could not be started.
    #[error("cannot start `{command}`: {reason}{}", if_arguments(command))]
    CannotStart { command: String, reason: String },
    /// Something failed on the way.
    #[error("{context}: {source}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
}

/// Help for a whole command line in place of a program, to be appended.
fn if_arguments(command: &str) -> String {
    match command.split_once(char::is_whitespace) {
        Some((program, _)) if !program.contains('/') => {
            format!("; for arguments, write `path: \"{program}\", args: [...]`")
        }
        _ => String::new(),
    }
}

impl DriverError {
    /// Whether the engine, or something that it needs, could not be reached. That is no fault of the
    /// pipeline's.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                ErrorKind::TimedOut
                    | ErrorKind::ConnectionRefused
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::NetworkDown
            ),
            Self::Refused(_) | Self::CannotStart { .. } => false,
        }
    }
}

/// What was removed of runs that are no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    pub containers: usize,
    pub volumes: usize,
    pub networks: usize,
    /// Of containers of failed tasks.
    pub images: usize,
    /// Directories of runs.
    pub directories: usize,
    /// Runs of which nothing was removed, since the engine has lost what says whether they are alive. It
    /// is removed later unless they say so.
    pub waiting: usize,
}

impl Pruned {
    /// Whether nothing was removed.
    pub fn is_empty(self) -> bool {
        self == Self { waiting: self.waiting, ..Self::default() }
    }
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.containers, "container"),
            (self.volumes, "volume"),
            (self.networks, "network"),
            (self.images, "image"),
            (self.directories, "directory"),
        ];
        let counted = |(count, what): &(usize, &str)| match (count, what.strip_suffix('y')) {
            (1, _) => format!("1 {what}"),
            (count, None) => format!("{count} {what}s"),
            (count, Some(stem)) => format!("{count} {stem}ies"),
        };
        let parts: Vec<String> = all.iter().filter(|(count, _)| *count > 0).map(counted).collect();
        f.write_str(&parts.join(", "))
    }
}
