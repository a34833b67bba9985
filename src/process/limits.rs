//! What the system lets this process have, and whether that is enough for a run.

use std::fs;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use bytesize::ByteSize;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Open files that a run needs beside those of its tasks: the engine, connections to a store, archives
/// that are read and written.
const RESERVE: u64 = 100;

/// The smallest limit of open files that a run can do with.
const FEWEST_FILES: u64 = 128;

/// Address space that a run needs, in bytes. V8 reserves 32 GiB for objects and code, and uses little of
/// it; it ends the process if it cannot.
const ADDRESS_SPACE: u64 = 40 << 30;

/// The limit of processes from which on nobody looks whether there is room for more.
const MANY_PROCESSES: u64 = 8192;

#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    /// The soft limit that this process was started with, which tasks get again: there are
    /// programs that take longer the higher it is.
    pub inherited: u64,
    /// The limit that is in force.
    pub limit: u64,
}

impl OpenFiles {
    /// How many files the tasks of a run may have open in this process.
    pub fn spare(self) -> u32 {
        let spare = self.limit.saturating_sub(RESERVE);
        u32::try_from(spare).unwrap_or(u32::MAX).clamp(1, 1 << 22)
    }
}

/// Raises the soft limit of open files as far as the hard limit allows.
pub fn open_files() -> OpenFiles {
    static INHERITED: OnceLock<u64> = OnceLock::new();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let inherited = *INHERITED.get_or_init(|| soft);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    OpenFiles { inherited, limit }
}

/// Says what is too little for a run, and what to do. For the start of a process: what fails later for
/// want of a file or a thread fails somewhere in a library.
pub fn check() -> Result<(), String> {
    let OpenFiles { limit, .. } = open_files();
    if limit < FEWEST_FILES {
        return Err(format!(
            "a run needs {FEWEST_FILES} open files at least and may have {limit}, raise the limit \
             with `ulimit -n`"
        ));
    }
    let (space, _) = getrlimit(Resource::RLIMIT_AS).unwrap_or((RLIM_INFINITY, RLIM_INFINITY));
    if space < ADDRESS_SPACE {
        return Err(format!(
            "a run reserves {} of address space, of which it uses little, and may have {}, raise the \
             limit with `ulimit -v`",
            ByteSize(ADDRESS_SPACE).display().iec(),
            ByteSize(space).display().iec()
        ));
    }
    if processes_are_few() {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        // The engine and the archives have a thread for each core, and there are the runtime, the
        // reporter, the supervisor, a reaper and a command.
        let wanted = 16 + 2 * cores.min(32);
        let made = threads(wanted);
        if made < wanted {
            return Err(format!(
                "a run needs {wanted} threads and processes at least, and only {made} more can be \
                 made, raise the limit with `ulimit -u`, or `pids.max` of the control group"
            ));
        }
    }
    Ok(())
}

/// Whether there is a limit of processes that may be reached.
fn processes_are_few() -> bool {
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).unwrap_or((RLIM_INFINITY, RLIM_INFINITY));
    soft < MANY_PROCESSES || group_limit().is_some_and(|limit| limit < MANY_PROCESSES)
}

/// The limit of the control group that this process is in.
fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    fs::read_to_string(format!("/sys/fs/cgroup{group}/pids.max")).ok()?.trim().parse().ok()
}

/// Makes up to that many threads that are there at the same time, and ends them again. Returns how many
/// could be made.
fn threads(wanted: usize) -> usize {
    let (hold, release) = mpsc::channel::<()>();
    let release = Arc::new(Mutex::new(release));
    let mut made = Vec::new();
    for _ in 0..wanted {
        let release = release.clone();
        let wait = move || {
            // Ends when the other side is dropped; each of them waits its turn to see that.
            _ = release.lock().map(|release| release.recv());
        };
        match thread::Builder::new().stack_size(64 << 10).spawn(wait) {
            Ok(thread) => made.push(thread),
            Err(_) => break,
        }
    }
    drop(hold);
    let count = made.len();
    for thread in made {
        _ = thread.join();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_can_be_made() {
        assert_eq!(threads(8), 8);
    }
}
