//! Taking out of a tree what does not belong there.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawMode, RenameFlags, chmod, fchmod, fstat, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::stop::Stop;
use crate::handle::{open_below, open_root};

pub struct Remover<'a> {
    root: &'a OwnedFd,
    trash: OwnedFd,
    /// The number in the name of the next directory in the trash.
    next: u64,
}

impl<'a> Remover<'a> {
    pub fn new(root: &'a OwnedFd, trash: &Path) -> Result<Self, Stop> {
        let trash = open_root(trash).map_err(|errno| Stop::at(trash, errno))?;
        Ok(Self { root, trash, next: 0 })
    }

    /// Opens a directory so that entries can be removed and made. Its mode is set at the end of the import.
    pub fn open(&self, path: &Path, mode: u32) -> Result<OwnedFd, Stop> {
        let failed = |errno| Stop::at(path, errno);
        let directory = open_below(self.root, path).map_err(failed)?;
        let found = fstat(&directory).map_err(failed)?.st_mode & 0o7777;
        // A bit that a task has set could give what is made in it another group.
        if found & 0o700 != 0o700 || found != mode & 0o7777 {
            let mode = mode & 0o7777 | 0o700;
            fchmod(&directory, Mode::from_raw_mode(mode as RawMode)).map_err(failed)?;
        }
        Ok(directory)
    }

    /// Removes whatever an entry is. Returns whether there was one.
    pub fn remove(
        &mut self,
        directory: impl AsFd,
        path: &Path,
        name: &OsStr,
        is_directory: bool,
    ) -> Result<bool, Stop> {
        if !is_directory {
            match unlinkat(&directory, name, AtFlags::empty()) {
                Ok(()) => return Ok(true),
                Err(Errno::NOENT) => return Ok(false),
                // What Linux says of a directory, and what POSIX says.
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(errno) => return Err(Stop::at(&path.join(name), errno)),
            }
        }
        match self.discard(directory.as_fd(), name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Stop::at(&path.join(name), errno)),
        }
    }

    /// Moves an entry into the trash.
    fn discard(
        &mut self,
        directory: rustix::fd::BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), Errno> {
        let mut is_opened = false;
        loop {
            let to = self.next.to_string();
            match renameat_with(directory, name, &self.trash, &*to, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.next += 1;
                    return Ok(());
                }
                // From an earlier import.
                Err(Errno::EXIST) => self.next += 1,
                // Its entry `..` changes, so it has to be writable.
                Err(Errno::ACCESS) if !is_opened => {
                    is_opened = true;
                    make_writable(directory, name)?;
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Gives a directory that may not be readable a mode with which it can be moved.
fn make_writable(directory: rustix::fd::BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(Errno::ACCESS);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(directory, name, flags, Mode::empty())?;
    // The only way to change the mode of what can not be opened to read, and that follows no link.
    chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RWXU)
}
