//! The places in a tree that is being unpacked: directories by handle, and what is where already.
//!
//! Every directory is opened from its parent's handle by its last name, and never through a link. So
//! a path leads nowhere but below the root, whatever was made of its parts before.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, ResolveFlags, mkdirat, open, openat2, unlinkat};
use rustix::io::Errno;

use super::control::{Control, Stage};
use super::path::{shown, split};
use super::snapshot::{PathKey, path_key};
use super::unpack::UnpackError;
use super::walk::{DIRECTORY, mode, open_directory};

/// How many directories are kept open.
const OPEN: usize = 256;

/// How deep directories may be nested, as when packing.
const MAX_DEPTH: usize = 1000;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    File,
    Directory,
    Link,
}

pub struct Places {
    root: Arc<OwnedFd>,
    open: HashMap<Vec<u8>, Arc<OwnedFd>>,
    taken: HashMap<PathKey, Taken>,
    /// Directories that were made because something was to be put into them.
    pub implied: Vec<Vec<u8>>,
    /// How many entries there may be.
    limit: u64,
    control: Control,
}

/// Where an entry goes: a directory and a name in it.
#[derive(Clone)]
pub struct Place {
    pub directory: Arc<OwnedFd>,
    pub name: CString,
}

impl Places {
    /// `root` is an empty directory.
    pub fn new(root: &Path, limit: u64, control: Control) -> Result<Self, UnpackError> {
        let writing = control.enter(Stage::Write);
        let root = open(root, DIRECTORY, Mode::empty()).map_err(|errno| io(b"", errno))?;
        drop(writing);
        Ok(Self {
            root: Arc::new(root),
            open: HashMap::new(),
            taken: HashMap::new(),
            implied: Vec::new(),
            limit,
            control,
        })
    }

    pub fn root(&self) -> &Arc<OwnedFd> {
        &self.root
    }

    pub fn taken(&self, path: &[u8]) -> Option<Taken> {
        match path {
            b"" => Some(Taken::Directory),
            path => self.taken.get(&path_key(path)).copied(),
        }
    }

    pub fn take(&mut self, path: &[u8], by: Taken) -> Result<(), UnpackError> {
        if self.taken.insert(path_key(path), by).is_none() && self.taken.len() as u64 > self.limit {
            return Err(UnpackError::Limit(format!(
                "it holds more entries than {}, allow more with `cache_max_entries`",
                self.limit
            )));
        }
        Ok(())
    }

    /// The place of a path other than the root; the directories above it are made.
    pub fn place(&mut self, path: &[u8]) -> Result<Place, UnpackError> {
        let Some((parent, name)) = split(path) else {
            return Err(refused(path, "it takes the place of the root"));
        };
        // Checked where the path was: it has no NUL characters.
        let name = CString::new(name).map_err(|_| refused(path, "its path has a NUL character"))?;
        Ok(Place { directory: self.directory(parent)?, name })
    }

    /// A directory, which is made if there is nothing.
    pub fn directory(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, UnpackError> {
        // From the top down, from the lowest one that is open.
        let mut missing = Vec::new();
        let mut at = path;
        let mut directory = loop {
            if at.is_empty() {
                break self.root.clone();
            }
            if let Some(open) = self.open.get(at) {
                break open.clone();
            }
            missing.push(at);
            if missing.len() > MAX_DEPTH {
                return Err(refused(path, "directories are nested too deep"));
            }
            at = split(at).map_or(b"", |(parent, _)| parent);
        };
        for path in missing.into_iter().rev() {
            let _writing = self.control.enter(Stage::Write);
            let name = split(path).map_or(path, |(_, name)| name);
            let name = CString::new(name).map_err(|_| refused(path, "a NUL character"))?;
            match self.taken(path) {
                Some(Taken::Directory) => {}
                Some(Taken::File) => {
                    return Err(refused(path, "something is to be put into it, and it is a file"));
                }
                Some(Taken::Link) => {
                    return Err(refused(path, "something is to be put into it, and it is a link"));
                }
                None => {
                    // Open for this process alone, until what it holds is complete.
                    mkdirat(&directory, &name, mode(0o700)).map_err(|errno| io(path, errno))?;
                    self.take(path, Taken::Directory)?;
                    self.implied.push(path.to_vec());
                }
            }
            directory = Arc::new(enter(&directory, &name).map_err(|errno| io(path, errno))?);
            if self.open.len() == OPEN {
                self.open.clear();
            }
            self.open.insert(path.to_vec(), directory.clone());
        }
        Ok(directory)
    }

    /// Removes what is at a path, which something else is to take. Only an empty directory gives way.
    pub fn clear(&mut self, path: &[u8], taken: Taken) -> Result<(), UnpackError> {
        let Place { directory, name } = self.place(path)?;
        let flags = match taken {
            Taken::Directory => AtFlags::REMOVEDIR,
            Taken::File | Taken::Link => AtFlags::empty(),
        };
        self.open.remove(path);
        let _writing = self.control.enter(Stage::Write);
        match unlinkat(&directory, &name, flags) {
            Ok(()) => {
                self.taken.remove(&path_key(path));
                Ok(())
            }
            Err(Errno::NOTEMPTY) => {
                Err(refused(path, "it takes the place of a directory that is not empty"))
            }
            Err(errno) => Err(io(path, errno)),
        }
    }
}

/// Opens a directory below another one.
fn enter(parent: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(parent.as_fd(), name, DIRECTORY, Mode::empty(), how) {
        // Before Linux 5.6, and in some sandboxes. One name without following links is below as well.
        Err(Errno::NOSYS | Errno::PERM) => open_directory(parent, name),
        opened => opened,
    }
}

pub fn refused(path: &[u8], reason: impl Into<String>) -> UnpackError {
    UnpackError::Refused { path: shown(path), reason: reason.into() }
}

pub fn io(path: &[u8], errno: Errno) -> UnpackError {
    UnpackError::Io { path: shown(path), source: errno.into() }
}
