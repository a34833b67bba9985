//! `--shell-on-failure`: the user's terminal, where a task has failed.
//!
//! The shell has a terminal of its own, and `ci` passes everything on between that and the user's. So it is
//! the same wherever the shell runs, and keys such as Ctrl-C are for what runs there. Reports fall silent for
//! that time by a message among the events: what came before is written, and what comes waits in the bounded
//! channel, and so do the tasks that write it. Until the shell is there, keys have their usual meaning, so
//! that Ctrl-C ends a copy that takes too long.

mod user_terminal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use user_terminal::UserTerminal;

use crate::driver::KeptTask;
use crate::event::EventSink;
use crate::stop::Stop;

/// A shell for the first task that fails.
pub struct FailureShell {
    terminal: Arc<UserTerminal>,
    events: EventSink,
    stop: Arc<Stop>,
    used: AtomicBool,
}

impl FailureShell {
    pub fn new(terminal: Arc<UserTerminal>, events: EventSink, stop: Arc<Stop>) -> Self {
        Self { terminal, events, stop, used: AtomicBool::new(false) }
    }

    /// Runs a shell to its end, if this is the first failure and the run may go on. Nothing else is
    /// written meanwhile, and no timeout passes.
    pub async fn offer(&self, task: &str, kept: &dyn KeptTask) {
        let over = self.stop.outside();
        if over.is_cancelled() || self.used.swap(true, Ordering::Relaxed) {
            return;
        }
        let _paused = self.stop.clock().stop();
        let _pause = tokio::select! {
            pause = self.events.pause() => pause,
            () = over.cancelled() => return,
        };
        let greeting = format!(
            "\nopening a shell where task `{}` failed; `exit` goes on with the run\n",
            task.escape_debug()
        );
        let shell = |terminal| kept.shell(terminal);
        let problem = match self.terminal.show(&greeting, over, shell).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("cannot use the terminal: {error}"),
        };
        self.events.warning(format!("no shell for task `{task}`: {problem}"));
    }
}
