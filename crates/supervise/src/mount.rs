//! Volumes as real directories, in a mount namespace that only the task sees.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid};

use crate::wire::{Bind, Failure};

/// Gives this process a mount namespace in which every bind is done.
pub fn enter(directory: &str, binds: &[Bind]) -> Result<(), Failure> {
    isolate()?;
    for bind in binds {
        let failed = |error: Errno| {
            format!("cannot mount a volume at `{}`: {}", bind.target, error.desc().to_lowercase())
        };
        let source = directory_at(None, &bind.source).map_err(|e| Failure::Start(failed(e)))?;
        let target = below(directory, &bind.target).map_err(|e| Failure::Start(failed(e)))?;
        attach(&source, &target).map_err(|error| match error {
            // Some systems allow the namespaces but take their rights away.
            Errno::EPERM | Errno::EACCES => Failure::NoMounts(failed(error)),
            error => Failure::Start(failed(error)),
        })?;
    }
    Ok(())
}

fn isolate() -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::NoMounts(format!("{what}: {error}"));
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|error| failed("cannot make a mount namespace", error.into()))?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .map_err(|error| failed("cannot make a user namespace", error.into()))?;
        // The same ids inside as outside. Supplementary groups stay in force, without a name.
        for (file, line) in [
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/uid_map", format!("{uid} {uid} 1")),
            ("/proc/self/gid_map", format!("{gid} {gid} 1")),
        ] {
            fs::write(file, line)
                .map_err(|error| failed("cannot set up a user namespace", error))?;
        }
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|error| failed("cannot make mounts private", error.into()))
}

fn attach(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    // By descriptor, so that what was checked is what is mounted.
    let by_descriptor = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (source, target) = (by_descriptor(source), by_descriptor(target));
    mount(Some(&*source), &*target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

/// Opens `path` below `directory` without following a link on the way.
fn below(directory: &str, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = open(directory, flags, Mode::empty())?;
    for part in path.split('/') {
        at = directory_at(Some(&at), part)?;
    }
    Ok(at)
}

fn directory_at(parent: Option<&OwnedFd>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match parent {
        Some(parent) => openat(parent.as_fd(), path, flags, Mode::empty()),
        None => open(path, flags, Mode::empty()),
    }
}
