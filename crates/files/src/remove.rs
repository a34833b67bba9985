//! Removing a directory that a task may have filled with anything.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::mount::{MntFlags, umount2};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, chmodat, fchmod, fstat, open, openat,
    openat2, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes whatever is at `path`, if anything.
///
/// Links are removed, never followed. Directories without write permission, as the Go module cache
/// has them, are made writable. A file system that is mounted below is unmounted, never emptied.
/// What cannot be removed does not keep the rest; the first error is returned at the end.
pub fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let parent = match open(parent, DIRECTORY, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut removal = Removal { top: &parent, moved: 0, first_error: None };
    removal.entry(parent.as_fd(), &c_name(name)?, 0);
    // What lay too deep has been moved up to be removed here.
    let mut removed = 0;
    while removed < removal.moved {
        removal.entry(parent.as_fd(), &moved_name(removed)?, 0);
        removed += 1;
    }
    match removal.first_error {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

/// How many files and directories this process has removed.
static REMOVED: AtomicU64 = AtomicU64::new(0);

/// Grows for as long as something is being removed.
pub fn removed() -> u64 {
    REMOVED.load(Ordering::Relaxed)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How many directories are open at the same time at most.
const MAX_DEPTH: usize = 48;

struct Removal<'a> {
    /// The directory that holds what is removed.
    top: &'a OwnedFd,
    /// How many directories were moved into `top`.
    moved: usize,
    first_error: Option<Errno>,
}

impl Removal<'_> {
    /// Returns whether nothing is at this name any more.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> bool {
        let result = match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            // The usual case: it is empty.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTDIR) => unlink(parent, name),
            Err(Errno::BUSY) => self.mount(parent, name, depth),
            Err(_) => self.directory(parent, name, depth),
        };
        match result {
            Ok(()) => _ = REMOVED.fetch_add(1, Ordering::Relaxed),
            Err(error) => _ = self.first_error.get_or_insert(error),
        }
        result.is_ok()
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Errno> {
        if depth == MAX_DEPTH {
            let to = moved_name(self.moved)?;
            make_writable(parent, name)?;
            renameat(parent, name, self.top, &*to)?;
            self.moved += 1;
            return Ok(());
        }
        let directory = match open_below(parent, name) {
            Err(Errno::ACCESS) => {
                make_writable(parent, name)?;
                open_below(parent, name)
            }
            opened => opened,
        };
        let directory = match directory {
            Err(Errno::XDEV) => return self.mount(parent, name, depth),
            directory => directory?,
        };
        self.content(directory, depth)?;
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    fn content(&mut self, directory: OwnedFd, depth: usize) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(fstat(&directory)?.st_mode);
        if !mode.contains(Mode::RWXU) {
            // It may belong to somebody else; then the entries say whether that matters.
            let _ = fchmod(&directory, mode | Mode::RWXU);
        }
        let mut directory = Dir::new(directory)?;
        loop {
            let batch = batch(&mut directory)?;
            let mut failed = 0;
            for (name, is_file) in &batch {
                // A file saves the call that finds out that it is not a directory.
                let unlinked = *is_file && unlink(directory.fd()?, name).is_ok();
                REMOVED.fetch_add(u64::from(unlinked), Ordering::Relaxed);
                let gone = unlinked || self.entry(directory.fd()?, name, depth + 1);
                failed += usize::from(!gone);
            }
            if failed == batch.len() {
                return Ok(());
            }
        }
    }

    /// Takes away what a task left mounted, and then the directory below it.
    fn mount(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
        let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        path.extend(name.to_bytes());
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        umount2(Path::new(OsStr::from_bytes(&path)), flags)
            .map_err(|error| Errno::from_raw_os_error(error as i32))?;
        // Another one may have been below it.
        if self.entry(parent, name, depth) { Ok(()) } else { Err(Errno::BUSY) }
    }
}

/// Some of a directory's entries, and whether they are files. A directory may hold millions.
fn batch(directory: &mut Dir) -> Result<Vec<(CString, bool)>, Errno> {
    directory.rewind();
    let named = |entry: Result<rustix::fs::DirEntry, Errno>| match entry {
        Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => None,
        Ok(entry) => {
            let is_file = !matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            Some(Ok((entry.file_name().to_owned(), is_file)))
        }
        Err(error) => Some(Err(error)),
    };
    directory.filter_map(named).take(4096).collect()
}

fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Opens a directory that is neither a link nor another file system's.
fn open_below(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(parent, name, DIRECTORY, Mode::empty(), resolve) {
        // Before Linux 5.6, and in some sandboxes.
        Err(Errno::NOSYS | Errno::PERM) => {
            let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
            match is_same_mount(parent, directory.as_fd())? {
                true => Ok(directory),
                false => Err(Errno::XDEV),
            }
        }
        opened => opened,
    }
}

/// Whether two directories are on the same mount. Mounts of the same file system differ in their number
/// alone, which proc_pid_fdinfo(5) has since Linux 3.15.
fn is_same_mount(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mount = |fd: BorrowedFd<'_>| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
        let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
        line.trim().parse::<u64>().ok()
    };
    match (mount(one), mount(other)) {
        (Some(one), Some(other)) => Ok(one == other),
        _ => Ok(fstat(one)?.st_dev == fstat(other)?.st_dev),
    }
}

/// Lets the owner open and change a directory that its mode forbids that.
pub fn make_writable(parent: BorrowedFd<'_>, name: impl Arg) -> Result<(), Errno> {
    // By a descriptor that needs no permission: a change by name would follow a link.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    chmodat(CWD, &*path, Mode::RWXU, AtFlags::empty())
}

fn c_name(name: &OsStr) -> io::Result<CString> {
    Ok(CString::new(name.as_bytes())?)
}

fn moved_name(index: usize) -> Result<CString, Errno> {
    CString::new(format!(".moved-{}-{index}", std::process::id())).map_err(|_| Errno::INVAL)
}
