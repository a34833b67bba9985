//! Whether the system has ended processes of tasks for want of memory.
//!
//! Only the parent of a process learns how it ended, and a shell may go on without a word. The kernel
//! counts such ends for each control group, in files that have the line `oom_kill N`. Tasks are in the
//! group of this process.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The count for all of the machine. It is the only one where this process is in no group of its own.
const MACHINE: &str = "/proc/vmstat";

#[derive(Debug)]
pub struct OomKills {
    /// `None` where the kernel does not count.
    file: Option<PathBuf>,
}

impl OomKills {
    pub fn find() -> Self {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let mut files = files(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        files.push(MACHINE.into());
        Self { file: files.into_iter().find(|file| count(file).is_some()) }
    }

    /// How many processes have been ended so far.
    pub fn count(&self) -> Option<u64> {
        count(self.file.as_deref()?)
    }
}

fn count(file: &Path) -> Option<u64> {
    let text = read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Where the count of this process's group may be, from `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn files(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let file = |line: &str| {
        let (_, group) = line.split_once(':')?;
        let (controllers, path) = group.split_once(':')?;
        let (kind, name) = match controllers {
            "" => ("cgroup2", "memory.events"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("cgroup", "memory.oom_control")
            }
            _ => return None,
        };
        let (root, point) = mounts.lines().find_map(|mount| mounted(mount, kind))?;
        // In a container the mount begins at the container's group, or somewhere else altogether.
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        Some(Path::new(point).join(below).join(name))
    };
    groups.lines().filter_map(file).collect()
}

/// The group at the top of a mount of groups, and where that is mounted.
fn mounted<'a>(mount: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let (place, file_system) = mount.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let mut file_system = file_system.split(' ');
    let is_kind = file_system.next() == Some(kind);
    let mut options = file_system.nth(1).unwrap_or_default().split(',');
    let is_memory = kind == "cgroup2" || options.any(|option| option == "memory");
    (is_kind && is_memory).then_some((place.next()?, place.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_own_group() {
        let two = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let one = "40 32 0:35 /box /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                   41 32 0:36 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        for (groups, mounts, expected) in [
            ("0::/a.slice/b.scope", two, vec!["/sys/fs/cgroup/a.slice/b.scope/memory.events"]),
            ("0::/", two, vec!["/sys/fs/cgroup/memory.events"]),
            ("3:cpu:/\n4:memory:/box/x", one, vec!["/sys/fs/cgroup/memory/x/memory.oom_control"]),
            ("4:memory:/other", one, vec!["/sys/fs/cgroup/memory/memory.oom_control"]),
            ("4:cpu:/box\n5:name=memory:/", one, vec![]),
            ("0::/", "", vec![]),
            ("nonsense", "nonsense", vec![]),
        ] {
            let expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
            assert_eq!(files(groups, mounts), expected, "{groups}");
        }
    }
}
