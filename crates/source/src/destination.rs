//! The directory that files are copied into.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT, fchmod, fgetxattr, futimens,
    linkat, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;

use super::error::{SourceError, shown};
use super::handle::{names, open_below, open_root};
use super::listing::Stamp;

/// The bits of a mode that are kept: not setuid and setgid, which would give the rights of who makes the copy.
pub const KEPT: u32 = 0o1777;

/// A directory that was empty, and that nobody else writes to.
pub struct Destination {
    root: OwnedFd,
    /// Bits that new files do not get, whatever they are made with.
    withheld: u32,
}

impl Destination {
    /// Opens the directory, which has to be empty.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |errno| SourceError::write(path, errno);
        let root = open_root(path).map_err(failed)?;
        if !names(&root).map_err(failed)?.is_empty() {
            let cause = std::io::ErrorKind::DirectoryNotEmpty.into();
            return Err(SourceError::Io { action: "copy into", path: shown(path), cause });
        }
        Ok(Self::at(root))
    }

    /// The directory that an earlier import filled.
    pub fn at(root: OwnedFd) -> Self {
        // A default list of who may do what takes the place of the mask.
        let has_list = fgetxattr(&root, c"system.posix_acl_default", &mut [0_u8; 0]).is_ok();
        let withheld = if has_list { 0o777 } else { umask().unwrap_or(0o777) };
        Self { root, withheld }
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens a directory of the copy.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd, SourceError> {
        open_below(&self.root, path).map_err(|errno| SourceError::write(path, errno))
    }

    /// Makes a directory, which may be there already. Its mode is set [at the end](Self::finish).
    pub fn make(&self, path: &Path) -> Result<(), SourceError> {
        let mode = Mode::RWXU;
        let made = match mkdirat(&self.root, path, mode) {
            // Longer than a call takes.
            Err(Errno::NAMETOOLONG) => {
                let parent = open_below(&self.root, path.parent().unwrap_or(path));
                let name = path.file_name().unwrap_or_default();
                parent.and_then(|parent| mkdirat(parent, name, mode))
            }
            made => made,
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(SourceError::write(path, errno)),
        }
    }

    /// Makes an empty file.
    pub fn create(&self, directory: impl AsFd, name: &OsStr, mode: u32) -> Result<OwnedFd, Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(directory, name, flags, Mode::from_raw_mode((mode & 0o777) as RawMode))
    }

    /// Gives a file that was made with the mode `made` its mode and time.
    pub fn finish_file(&self, file: impl AsFd, made: u32, stamp: &Stamp) -> Result<(), Errno> {
        let mode = stamp.mode & KEPT;
        if mode != made & 0o777 & !self.withheld {
            fchmod(&file, Mode::from_raw_mode(mode as RawMode))?;
        }
        futimens(&file, &times(stamp))
    }

    /// Makes another name of a file.
    pub fn link(&self, from: (&Path, &OsStr), to: (&Path, &OsStr)) -> Result<(), SourceError> {
        let (from_directory, to_directory) = (self.directory(from.0)?, self.directory(to.0)?);
        let linked = linkat(from_directory, from.1, to_directory, to.1, AtFlags::empty());
        linked.map_err(|errno| SourceError::write(&to.0.join(to.1), errno))
    }

    /// Removes a file of the copy, if it is there.
    pub fn remove(&self, directory: &Path, name: &OsStr) -> Result<(), SourceError> {
        let removed =
            self.directory(directory).map(|handle| unlinkat(handle, name, AtFlags::empty()));
        match removed? {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(SourceError::write(&directory.join(name), errno)),
        }
    }

    /// Removes a directory of the copy, if it is empty.
    pub fn remove_directory(&self, path: &Path) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        // One that is not empty holds what is still needed.
        let _ = open_below(&self.root, parent)
            .and_then(|parent| unlinkat(parent, name, AtFlags::REMOVEDIR));
    }

    /// Gives a directory its mode and time. Nothing may be made in it after that.
    pub fn finish(&self, path: &Path, stamp: &Stamp) -> Result<(), SourceError> {
        let failed = |errno| SourceError::write(path, errno);
        let directory = self.directory(path)?;
        fchmod(&directory, Mode::from_raw_mode((stamp.mode & KEPT) as RawMode)).map_err(failed)?;
        futimens(&directory, &times(stamp)).map_err(failed)
    }
}

/// The time of the last change; that of the last access is now.
pub fn times(stamp: &Stamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: stamp.modified.0, tv_nsec: stamp.modified.1.into() },
    }
}

/// The mask of this process. The call that returns it changes it for a moment, for all threads.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}
