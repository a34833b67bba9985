//! When an object was last used.
//!
//! That is the time of access of its file. It is set by a call of its own, so that it is right on file systems
//! mounted with `noatime` and `relatime`, survives a crash as any time of a file does, and needs no file of
//! its own. The time of modification, which is an object's age, stays what it is. This program reads objects
//! without a change of that time; another program that reads one may count as a use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use nix::libc::{O_NOATIME, O_NOFOLLOW, O_NONBLOCK};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

/// Opens a file for reading that is no link, as no use of it where the system permits that: only a file's owner
/// may read it so.
pub fn open_unused(path: &Path) -> io::Result<File> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
    match open(O_NOFOLLOW | O_NONBLOCK | O_NOATIME) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => open(O_NOFOLLOW | O_NONBLOCK),
        opened => opened,
    }
}

/// Records a use at this moment.
pub fn touch(file: &File) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    Ok(futimens(file, &times)?)
}

/// Writing is a use too.
pub fn of(metadata: &fs::Metadata) -> Option<SystemTime> {
    metadata.accessed().ok().max(metadata.modified().ok())
}
