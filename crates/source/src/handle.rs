//! Files and directories below an open directory, reached without following a link.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, openat, openat2};
use rustix::io::Errno;

pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes for the names of a directory that one call returns.
const NAMES: usize = 32 * 1024;

/// Opens the directory at an absolute path.
pub fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, DIRECTORY, Mode::empty())
}

/// Opens a directory at a relative path without `..`. No part of the path may be a link.
pub fn open_below(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let root = root.as_fd();
    if path.as_os_str().is_empty() {
        return openat(root, c".", DIRECTORY, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, DIRECTORY, Mode::empty(), resolve) {
        // Before Linux 5.6, in some sandboxes, and for paths that are longer than a call takes.
        Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => open_by_parts(root, path),
        opened => opened,
    }
}

fn open_by_parts(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut current = openat(root, c".", DIRECTORY, Mode::empty())?;
    for part in path.components() {
        let Component::Normal(name) = part else { return Err(Errno::INVAL) };
        current = openat(&current, name, DIRECTORY, Mode::empty())?;
    }
    Ok(current)
}

/// Opens a file of a directory to read it. What took its place meanwhile is not followed and not waited for.
pub fn open_file(
    directory: impl AsFd,
    name: impl rustix::path::Arg + Copy,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let directory = directory.as_fd();
    match openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only for who owns the file.
        Err(Errno::PERM) => openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// The names in a directory in the order of their bytes, and the types as far as the directory tells.
pub fn names(directory: &OwnedFd) -> Result<Vec<(OsString, FileType)>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); NAMES];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    Ok(names)
}
