//! How a run is asked to end before its pipeline does.

mod clock;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use clock::Clock;

/// Says that a run has to end before its pipeline does, and why.
#[derive(Default)]
pub struct Stop {
    clock: Arc<Clock>,
    token: CancellationToken,
    /// Cancelled for what comes from outside, also when the pipeline has failed before.
    outside: CancellationToken,
    /// Cancelled when not even tasks that tidy up may go on.
    last: CancellationToken,
    reason: OnceLock<StopReason>,
    /// What a thread or a task of this process panicked with first, and where.
    panic: OnceLock<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user or the machine asked for it.
    Interrupted,
    /// `--timeout` has passed.
    TimedOut(Duration),
    /// The pipeline has failed; what it left running is not waited for.
    Failed,
    /// Something in this process panicked.
    Broken,
}

impl Stop {
    /// The first reason counts.
    pub fn request(&self, reason: StopReason) {
        _ = self.reason.set(reason);
        self.token.cancel();
        match reason {
            StopReason::Failed => self.last.cancel(),
            StopReason::Interrupted | StopReason::TimedOut(_) | StopReason::Broken => {
                self.outside.cancel();
            }
        }
    }

    /// Ends the run because of a panic. The first one counts.
    pub fn panicked(&self, message: String) {
        _ = self.panic.set(message);
        self.request(StopReason::Broken);
    }

    /// What the first panic said, and where it was.
    pub fn panic(&self) -> Option<&str> {
        self.panic.get().map(String::as_str)
    }

    /// Ends the time that tasks have to tidy up.
    pub fn end_cleanup(&self) {
        self.last.cancel();
    }

    /// What timeouts go by.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Fires when the user or the clock wants the run to end, not when the pipeline has failed.
    pub fn outside(&self) -> &CancellationToken {
        &self.outside
    }

    /// Fires when nothing of the run may go on.
    pub fn last(&self) -> &CancellationToken {
        &self.last
    }

    pub fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interrupted => write!(f, "the run was interrupted"),
            Self::TimedOut(after) => {
                write!(f, "the run timed out after {}", humantime::format_duration(*after))
            }
            Self::Failed => write!(f, "the pipeline failed"),
            Self::Broken => write!(f, "an internal error ended the run"),
        }
    }
}
