//! What the end of a task means: its code, its status and the words for it.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::event::TaskStatus;
use crate::stop::StopReason;
use crate::task::{TaskExit, TaskSpec};

/// The code of a task that its own timeout ended, as `timeout(1)` has it.
pub const CODE_TIMED_OUT: i32 = 124;
/// The code of a task that the system ended: 128 and SIGKILL.
const CODE_KILLED: i32 = 137;
/// The code of a task that ended for any other reason than its own: 128 and SIGINT.
const CODE_ABORTED: i32 = 130;

pub struct Verdict {
    /// Never 0 unless the command returned 0.
    pub code: i32,
    pub status: TaskStatus,
    pub signal: Option<&'static str>,
    /// Why, when there is more to say than the code.
    pub message: String,
}

/// Why a task was cancelled.
pub enum Cancelled {
    /// Its own timeout has passed.
    TimedOut(Option<Duration>),
    /// The run has to stop.
    Stopped(StopReason),
    ByThePipeline,
}

impl Verdict {
    pub fn new(spec: &TaskSpec, exit: TaskExit, cancelled: Cancelled) -> Self {
        let signal = match exit {
            TaskExit::Signal(signal) => Some(signal_name(signal)),
            _ => None,
        };
        let (code, message) = match exit {
            TaskExit::Code(code) | TaskExit::CodeAfterKill(code) => (code, String::new()),
            TaskExit::Signal(number) => (128 + number, format!("ended by {}", signal_name(number))),
            TaskExit::OutOfMemory => (CODE_KILLED, out_of_memory(spec)),
            TaskExit::Cancelled => (cancelled.code(), cancelled.to_string()),
        };
        let status = match exit {
            TaskExit::Cancelled => TaskStatus::Abort,
            exit if exit.is_success() => TaskStatus::Success,
            _ => TaskStatus::Failure,
        };
        Self { code, status, signal, message }
    }

    /// The message beside the event's field for the signal.
    pub fn reason(&self) -> String {
        if self.signal.is_some() { String::new() } else { self.message.clone() }
    }
}

impl Cancelled {
    fn code(&self) -> i32 {
        match self {
            Self::TimedOut(_) | Self::Stopped(StopReason::TimedOut(_)) => CODE_TIMED_OUT,
            Self::Stopped(_) | Self::ByThePipeline => CODE_ABORTED,
        }
    }
}

impl std::fmt::Display for Cancelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut(after) => {
                let after = humantime::format_duration(after.unwrap_or_default());
                write!(f, "timed out after {after}")
            }
            Self::Stopped(reason) => reason.fmt(f),
            Self::ByThePipeline => f.write_str("cancelled by the pipeline"),
        }
    }
}

fn out_of_memory(spec: &TaskSpec) -> String {
    match spec.container.limits.memory {
        Some(bytes) => format!(
            "ended for using more memory than its limit of {}, raise `containerLimits.memory`",
            bytesize::ByteSize(bytes).display().si()
        ),
        None => "ended because the machine ran out of memory".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    Signal::try_from(signal).map_or("a real-time signal", Signal::as_str)
}
