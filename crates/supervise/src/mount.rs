//! Volumes as real directories, in a mount namespace that only the task sees.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat};
use rustix::process::{getegid, geteuid};

use crate::wire::{Failure, Launch};

/// Gives this process a mount namespace in which every bind is done, and a network namespace if it is to have one.
pub fn enter(launch: &Launch) -> Result<(), Failure> {
    let directory = &launch.mounts_at;
    isolate(launch.offline)?;
    for bind in &launch.binds {
        let failed = |error: Errno| {
            format!("cannot mount a volume at `{}`: {}", bind.target, error.desc().to_lowercase())
        };
        let start = |error: rustix::io::Errno| {
            Failure::Start(failed(Errno::from_raw(error.raw_os_error())))
        };
        let source = directory_at(CWD, &bind.source).map_err(start)?;
        let target = below(directory, &bind.target).map_err(start)?;
        let refused = |error: Errno| match error {
            // Some systems allow the namespaces but take their rights away.
            Errno::EPERM | Errno::EACCES => Failure::NoMounts(failed(error)),
            error => Failure::Start(failed(error)),
        };
        attach(&source, &target).map_err(refused)?;
        if bind.read_only {
            // The descriptor from before is below the mount.
            let mounted = below(directory, &bind.target).map_err(start)?;
            forbid_writes(&mounted).map_err(refused)?;
        }
    }
    Ok(())
}

fn isolate(offline: bool) -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::NoMounts(format!("{what}: {error}"));
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid == 0 {
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
    if offline {
        // Other tasks can do without it, so that it is the task's own failure.
        unshare(CloneFlags::CLONE_NEWNET).and_then(|()| raise_loopback()).map_err(|error| {
            Failure::Start(format!(
                "cannot take the network away: {}; leave `network: false` out, or run where network namespaces \
                 are possible",
                error.desc().to_lowercase()
            ))
        })?;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|error| failed("cannot make mounts private", error.into()))
}

/// Starts the loopback interface of a new network namespace, which is down at first.
fn raise_loopback() -> Result<(), Errno> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all of its fields are plain numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads one `ifreq`, whose name ends with a NUL and whose flags are set.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    Errno::result(result).map(drop)
}

fn attach(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    // By descriptor, so that what was checked is what is mounted.
    let by_descriptor = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (source, target) = (by_descriptor(source), by_descriptor(target));
    mount(Some(&*source), &*target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

/// Makes a mount read-only. A user namespace may not drop the other flags that the mount has from its source.
fn forbid_writes(mounted: &OwnedFd) -> Result<(), Errno> {
    let found = fstatvfs(mounted).map_err(|error| Errno::from_raw(error.raw_os_error()))?.f_flag;
    let flags = [
        (StatVfsMountFlags::NOSUID, MsFlags::MS_NOSUID),
        (StatVfsMountFlags::NODEV, MsFlags::MS_NODEV),
        (StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
        (StatVfsMountFlags::NOATIME, MsFlags::MS_NOATIME),
        (StatVfsMountFlags::NODIRATIME, MsFlags::MS_NODIRATIME),
        (StatVfsMountFlags::RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = flags.into_iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| flag);
    let flags =
        kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, MsFlags::union);
    let path = format!("/proc/self/fd/{}", mounted.as_raw_fd());
    mount(None::<&str>, &*path, None::<&str>, flags, None::<&str>)
}

/// Opens `path` below `directory` without following a link on the way.
fn below(directory: &str, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, directory, flags, Mode::empty())?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at = directory_at(at.as_fd(), part)?;
    }
    Ok(at)
}

fn directory_at(parent: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, path, flags, Mode::empty())
}
