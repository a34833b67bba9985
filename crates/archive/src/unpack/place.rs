//! The places in a tree that is being unpacked: directories by handle.
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

use crate::error::UnpackError;
use crate::flow::control::{Control, Stage};
use crate::path::split;
use crate::read::rules::Taken;
use crate::tree::walk::{DIRECTORY, mode, open_directory};

/// How many directories are kept open.
const OPEN: usize = 256;

pub struct Places {
    root: Arc<OwnedFd>,
    open: HashMap<Vec<u8>, Arc<OwnedFd>>,
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
    pub fn new(root: &Path, control: Control) -> Result<Self, UnpackError> {
        let writing = control.enter(Stage::Write);
        let root =
            open(root, DIRECTORY, Mode::empty()).map_err(|errno| UnpackError::io(b"", errno))?;
        drop(writing);
        Ok(Self { root: Arc::new(root), open: HashMap::new(), control })
    }

    /// The place of a path other than the root.
    pub fn place(&mut self, path: &[u8]) -> Result<Place, UnpackError> {
        let Some((parent, name)) = split(path) else {
            return Err(UnpackError::refused(path, "it takes the place of the root"));
        };
        // Checked where the path was: it has no NUL characters.
        let name = CString::new(name)
            .map_err(|_| UnpackError::refused(path, "its path has a NUL character"))?;
        Ok(Place { directory: self.directory(parent)?, name })
    }

    /// Makes a directory, open for this process alone until what it holds is complete.
    pub fn make(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        let Place { directory, name } = self.place(path)?;
        let _writing = self.control.enter(Stage::Write);
        mkdirat(&directory, &name, mode(0o700)).map_err(|errno| UnpackError::io(path, errno))
    }

    /// A directory that was made here.
    pub fn directory(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, UnpackError> {
        // From the top down, from the lowest one that is open.
        let mut closed = Vec::new();
        let mut at = path;
        let mut directory = loop {
            if at.is_empty() {
                break self.root.clone();
            }
            if let Some(open) = self.open.get(at) {
                break open.clone();
            }
            closed.push(at);
            at = split(at).map_or(b"", |(parent, _)| parent);
        };
        for path in closed.into_iter().rev() {
            let _writing = self.control.enter(Stage::Write);
            let name = split(path).map_or(path, |(_, name)| name);
            let name =
                CString::new(name).map_err(|_| UnpackError::refused(path, "a NUL character"))?;
            directory =
                Arc::new(enter(&directory, &name).map_err(|errno| UnpackError::io(path, errno))?);
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
        unlinkat(&directory, &name, flags).map_err(|errno| UnpackError::io(path, errno))
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
