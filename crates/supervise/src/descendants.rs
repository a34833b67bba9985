//! The processes below a process, and their end.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wire::ProcessId;

/// What `/proc` says of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    pub pid: Pid,
    pub group: Pid,
    /// As in `ps`: `R`, `S`, `T` and so on.
    state: u8,
    /// In clock ticks after the machine's start.
    started: u64,
}

impl Process {
    pub fn id(self) -> ProcessId {
        ProcessId { pid: self.pid.as_raw(), started: self.started }
    }

    /// Whether a signal or a tracer keeps it from running.
    pub fn is_stopped(self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Whether this is a reaper, or a process that a reaper has made and that has not executed its
    /// command yet.
    pub fn is_reaper(self) -> bool {
        let name = fs::read(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        name.trim_ascii() == REAPER_NAME.to_bytes()
    }

    /// Whether it was started with a directory for temporary files below this one.
    pub fn has_files_below(self, directory: &Path) -> bool {
        let variables = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| {
            let path = variable.strip_prefix(b"TMPDIR=").map(OsStr::from_bytes);
            path.is_some_and(|path| Path::new(path).starts_with(directory))
        })
    }

    /// Whether it has given up its memory, and its variables with it, on its way to its end. What is below
    /// it stays there until then.
    pub fn is_exiting(self) -> bool {
        fs::read(format!("/proc/{}/environ", self.pid)).is_ok_and(|variables| variables.is_empty())
    }

    pub fn is_alive(self) -> bool {
        !self.has_ended()
    }

    /// Whether it has ended, and only waits for its parent to ask how.
    fn has_ended(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// The process with this number.
pub fn find(pid: Pid) -> Option<Process> {
    stat(pid).map(|(process, _)| process)
}

/// This process's own id.
pub fn own() -> Option<ProcessId> {
    find(Pid::this()).map(Process::id)
}

/// The same process, unless it has ended.
pub fn again(id: ProcessId) -> Option<Process> {
    find(Pid::from_raw(id.pid)).filter(|found| found.id() == id && !found.has_ended())
}

/// Lets a process go on that somebody has stopped.
pub fn wake(process: Process) {
    if process.is_stopped() {
        // It may have ended meanwhile.
        let _ = kill(process.pid, Signal::SIGCONT);
    }
}

/// What reapers are called in `ps`.
pub const REAPER_NAME: &CStr = c"ci-reaper";

/// How long to keep trying before a process counts as one that cannot be killed: it belongs to
/// another user, or waits in the kernel for a device or a network file system.
pub const PERSISTENCE: Duration = Duration::from_secs(10);

/// Asks everything below `root` to end that is not in the group `except`, which has been asked.
pub fn terminate(root: Pid, except: Option<Pid>) {
    let mut asked: Vec<Process> = Vec::new();
    // A process that forks meanwhile is found by the next look. Four of them are enough for
    // anything that is not a fork bomb, and SIGKILL follows for those.
    for _ in 0..4 {
        let mut found = list(root);
        found.retain(|process| {
            let is_known = asked.iter().any(|before| before.id() == process.id());
            Some(process.group) != except && !is_known
        });
        if found.is_empty() {
            return;
        }
        for process in &found {
            ask(process.pid);
        }
        asked.append(&mut found);
    }
}

/// SIGTERM for one process, or for a group if the id is negative.
pub fn ask(pid: Pid) {
    // It may have ended already, or belong to another user, whom SIGKILL cannot reach either.
    let _ = kill(pid, Signal::SIGTERM);
    // A stopped process would not see it.
    let _ = kill(pid, Signal::SIGCONT);
}

/// Kills the whole group of a child that has not been waited for, which keeps its id taken.
pub fn kill_group(leader: Pid) -> Result<(), Errno> {
    kill(Pid::from_raw(-leader.as_raw()), Signal::SIGKILL)
}

/// Kills what is below `root` again and again until `done`. Returns how many processes are left.
///
/// A process is killed as soon as it is seen: one that forks and exits all the time is a different one
/// by the time that a list is complete.
pub fn kill_until(root: Pid, mut done: impl FnMut() -> bool) -> usize {
    let start = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    let mut before = Vec::new();
    loop {
        let mut found = visit(root, |process| {
            let _ = kill(process, Signal::SIGKILL);
        });
        if done() {
            return 0;
        }
        if start.elapsed() > PERSISTENCE {
            return found.len();
        }
        found.sort_unstable();
        if found.iter().all(|process| before.binary_search(process).is_ok()) {
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        } else {
            // Some of them are new. Whoever forks that fast would only gain by a pause.
            pause = SHORTEST_PAUSE;
        }
        before = found;
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_micros(200);

/// Kills what is below a process that cannot do that itself. Returns whether nothing of it runs.
pub fn kill_below(root: Pid) -> bool {
    kill_until(root, || list(root).iter().all(|process| process.has_ended())) == 0
}

/// Calls `act` with each process below `root` as soon as it is seen, parents before their children, and
/// returns all of them.
fn visit(root: Pid, mut act: impl FnMut(Pid)) -> Vec<Pid> {
    let Some(mut found) = children(root) else {
        let all: Vec<Pid> = scan(root).iter().map(|process| process.pid).collect();
        all.iter().for_each(|pid| act(*pid));
        return all;
    };
    // Before anything else is read, in which time they might fork.
    found.iter().for_each(|pid| act(*pid));
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        // Once it has ended, what was below it is below the subreaper, and the next look finds it there.
        let below = children(pid).unwrap_or_default();
        below.iter().for_each(|pid| act(*pid));
        found.extend(below);
    }
    found
}

/// The direct children of a process; all that is below it where these cannot be told alone.
pub fn children_of(pid: Pid) -> Vec<Process> {
    match children(pid) {
        Some(found) => found.into_iter().filter_map(find).collect(),
        None => scan(pid),
    }
}

/// The processes below `root`, parents before their children.
///
/// Among them are those that have ended and that nobody has waited for: a thread of theirs may
/// still run. The answer is a little old at once; callers repeat until nothing is left.
pub fn list(root: Pid) -> Vec<Process> {
    match children(root) {
        Some(first) => walk(first),
        None => scan(root),
    }
}

/// The direct children by `/proc/PID/task/TID/children`. `None` if the kernel was built without
/// it (`CONFIG_PROC_CHILDREN`) or the process is gone.
fn children(pid: Pid) -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)));
    }
    Some(found)
}

fn walk(mut open: Vec<Pid>) -> Vec<Process> {
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(&pid) = open.get(next) {
        next += 1;
        if let Some((process, _)) = stat(pid) {
            found.push(process);
        }
        open.extend(children(pid).unwrap_or_default());
    }
    found
}

/// The same from a look at every process of the machine.
fn scan(root: Pid) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut all: Vec<(Process, Pid)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(Pid::from_raw(pid)))
        .collect();
    let mut parents = vec![root];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(&parent) = parents.get(next) {
        next += 1;
        all.retain(|&(process, its_parent)| {
            if its_parent == parent {
                parents.push(process.pid);
                found.push(process);
            }
            its_parent != parent
        });
    }
    found
}

/// A process and its parent. See proc_pid_stat(5).
fn stat(pid: Pid) -> Option<(Process, Pid)> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(pid: Pid, line: &[u8]) -> Option<(Process, Pid)> {
    // The second field is the program's name in parentheses, which may hold anything.
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    Some((Process { pid, group: Pid::from_raw(group), state, started }, Pid::from_raw(parent)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_line_of_a_process_with_a_hostile_name() {
        let line = b"42 (a) Z 1 (b)) S 7 40 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 2\n";
        let expected = Process {
            pid: Pid::from_raw(42),
            group: Pid::from_raw(40),
            state: b'S',
            started: 12345,
        };
        assert_eq!(parse_stat(Pid::from_raw(42), line), Some((expected, Pid::from_raw(7))));
        assert_eq!(parse_stat(Pid::from_raw(1), b"1 (x) S 0 1 1 0"), None);
        assert_eq!(parse_stat(Pid::from_raw(1), b""), None);
    }

    #[test]
    fn both_ways_of_looking_find_children() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let found = |list: Vec<Process>| list.iter().any(|process| process.pid == pid);
        assert!(found(scan(Pid::this())));
        assert!(found(list(Pid::this())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found(scan(Pid::this())));
    }
}
