//! A directory tree in the order of an archive.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, FileType, Mode, OFlags, RawMode, openat};
use rustix::io::Errno;

use crate::error::PackError;
use crate::flow::control::{Control, Stage};

/// How deep directories may be nested. Each level that is open takes a descriptor.
pub const MAX_DEPTH: usize = 1000;

/// An entry of a directory.
pub struct Found<'a> {
    pub directory: &'a Arc<OwnedFd>,
    pub name: &'a CStr,
    /// Relative to the root, without `./`.
    pub path: &'a [u8],
    /// As far as the directory tells.
    pub kind: FileType,
}

/// Calls `visit` for everything below the root, names in the order of their bytes, a directory right
/// before what is in it. `visit` opens the directories that are to be descended into.
pub fn walk(
    root: OwnedFd,
    control: &Control,
    visit: &mut dyn FnMut(Found<'_>) -> Result<Option<OwnedFd>, PackError>,
) -> Result<(), PackError> {
    let mut path = Vec::new();
    let mut levels = vec![Level::new(root, 0, control).map_err(|errno| PackError::io(b"", errno))?];
    while let Some(level) = levels.last_mut() {
        let Some((name, kind)) = level.names.pop() else {
            levels.pop();
            continue;
        };
        control.check()?;
        path.truncate(level.path);
        if level.path > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let found = Found { directory: &level.directory, name: &name, path: &path, kind };
        if let Some(directory) = visit(found)? {
            if levels.len() == MAX_DEPTH {
                return Err(PackError::Refused {
                    path: crate::path::shown(&path),
                    reason: format!("directories are nested more than {MAX_DEPTH} deep"),
                });
            }
            let level = Level::new(directory, path.len(), control);
            levels.push(level.map_err(|errno| PackError::io(&path, errno))?);
        }
    }
    Ok(())
}

struct Level {
    directory: Arc<OwnedFd>,
    /// What is still to be visited, the next one last.
    names: Vec<(CString, FileType)>,
    /// The length of the directory's path.
    path: usize,
}

impl Level {
    fn new(directory: OwnedFd, path: usize, control: &Control) -> Result<Self, Errno> {
        let _reading = control.enter(Stage::Pack);
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        names.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        Ok(Self { directory: Arc::new(directory), names, path })
    }
}

/// Opens a directory that is no link.
pub fn open_directory(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, DIRECTORY, Mode::empty())
}

pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a file to read it. What took its place meanwhile is not followed and not waited for.
pub fn open_file(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only for who owns the file.
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// `mode` as the type that the system's calls take.
pub fn mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
}
