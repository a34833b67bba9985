//! The limit of open files, and what it allows.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files that a running task needs in this process: its two streams, its stdin and the
/// channel to its reaper.
const PER_TASK: u64 = 4;

/// Left for everything else that the process does.
const RESERVE: u64 = 100;

#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    /// The soft limit that this process was started with, which tasks get again: there are
    /// programs that take longer the higher it is.
    pub inherited: u64,
    /// How many tasks may run at the same time; more wait.
    pub tasks: usize,
}

/// Raises the soft limit as far as the hard limit allows.
pub fn raise() -> OpenFiles {
    static INHERITED: OnceLock<u64> = OnceLock::new();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let inherited = *INHERITED.get_or_init(|| soft);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let tasks = (limit.saturating_sub(RESERVE) / PER_TASK).clamp(1, 1 << 20);
    OpenFiles { inherited, tasks: tasks as usize }
}
