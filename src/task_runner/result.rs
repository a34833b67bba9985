//! What a pipeline asks for beside a task, and what it learns of the task's end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::TextChunk;
use crate::driver::{DriverError, Sandbox};
use crate::process::memory::Share;
use crate::task::TaskExit;

/// What the runner, and not the driver, does for a task.
#[derive(Default)]
pub struct TaskOptions {
    pub timeout: Option<Duration>,
    /// The timeout of a step, if the task's is what is left of that. It counts from the call then, and not
    /// from the start of the command.
    pub left_of: Option<Duration>,
    /// Whether the task tidies up: it starts although the run is to end, and is not ended at once.
    pub cleanup: bool,
    /// Whether the pipeline tries again if it fails.
    pub will_retry: bool,
    /// The script that the command runs, as the pipeline has it. Reports show it in place of the last
    /// argument.
    pub script: Option<String>,
    /// Where the task runs, unless that is a place of its own.
    pub sandbox: Option<Arc<dyn Sandbox>>,
    pub listener: Option<mpsc::Sender<TextChunk>>,
    /// What the task holds of the pipeline's memory. Its results grow it.
    pub memory: Option<Share>,
    /// The step of a pipeline in YAML that the task belongs to.
    pub step: Option<u64>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It was to end before it began.
    #[error("`{name}` was not started: {reason}")]
    NotStarted { name: String, reason: String },
    #[error(transparent)]
    Driver(DriverError),
}

/// What a pipeline learns of a task that was started.
#[derive(Debug)]
pub struct TaskResult {
    pub exit: TaskExit,
    /// Never 0 unless the command returned 0.
    pub code: i32,
    /// The name of the signal that ended it.
    pub signal: Option<&'static str>,
    /// Whether its own timeout or that of the run has ended it.
    pub timed_out: bool,
    pub stdout: String,
    pub stderr: String,
    /// Whether something of the streams was left out.
    pub truncated: bool,
    /// Why, when there is more to say than the code.
    pub message: String,
    pub duration: Duration,
    /// Given back when the pipeline has taken the result over.
    pub memory: Option<Share>,
}
