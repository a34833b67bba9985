//! The files that a pipeline may import, and that messages may quote.
//!
//! Every file that a pipeline imports, every `package.json` and every line that a message quotes is read
//! through here: a handle without access to content is opened, the kernel is asked for its real path, and it
//! is read only if that is below the project's root. Code can name any file as its source (`//# sourceURL`), which
//! is why messages need this too.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};

use crate::pipeline::project::root_of;
use crate::process::memory::Memory;

/// The most that one file may hold, in bytes, whatever the memory limit is.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// A directory whose files a pipeline may import, with the links in it resolved.
///
/// A link that leads out of it is refused like any other path outside: the content of a file
/// elsewhere on the machine never reaches the pipeline, and never an error message.
#[derive(Clone)]
pub struct Project {
    /// Absolute and without symbolic links. `None` for a pipeline that has no files.
    root: Option<PathBuf>,
    memory: Arc<Memory>,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it is outside of the project `{root}`")]
    Outside { root: String },
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it has {size}, the most is {limit}")]
    TooLarge { size: bytesize::Display, limit: bytesize::Display },
    #[error("it is not UTF-8 text")]
    NotText,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Project {
    /// The project of a pipeline's file. `file` is absolute and without symbolic links.
    pub fn of(file: &Path, memory: Arc<Memory>) -> Self {
        Self { root: Some(root_of(file)), memory }
    }

    /// The project that the user names, if the pipeline's file is in it; or else that of the file.
    pub fn named(root: &Path, file: &Path, memory: Arc<Memory>) -> Self {
        match file.starts_with(root) {
            true => Self { root: Some(root.to_owned()), memory },
            false => Self::of(file, memory),
        }
    }

    /// Of a pipeline that imports nothing.
    pub fn none(memory: Arc<Memory>) -> Self {
        Self { root: None, memory }
    }

    /// Reads a text file of the project.
    pub fn read(&self, path: &Path) -> Result<String, ReadError> {
        String::from_utf8(self.read_bytes(path)?).map_err(|_| ReadError::NotText)
    }

    /// Reads a file of the project.
    pub fn read_bytes(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let (handle, _) = self.open(path)?;
        let stat = fstat(&handle).map_err(io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ReadError::NotRegular);
        }
        let limit = self.largest_file();
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > limit {
            return Err(too_large(size, limit));
        }
        // The handle above gives no access to content, and opening the path again could lead
        // somewhere else by now.
        let descriptor = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(CWD, descriptor, flags, Mode::empty()).map_err(io::Error::from)?;
        let mut content = Vec::new();
        // A file may grow while it is read.
        File::from(file).take(limit + 1).read_to_end(&mut content)?;
        let read = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if read > limit { Err(too_large(read, limit)) } else { Ok(content) }
    }

    /// Where a path of the project leads, without symbolic links.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, ReadError> {
        self.open(path).map(|(_, real)| real)
    }

    /// Whether a path leads to a regular file of the project.
    pub fn is_file(&self, path: &Path) -> bool {
        self.open(path).is_ok_and(|(handle, _)| {
            fstat(&handle)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        })
    }

    /// Whether a path is one of the project as it is written, whatever links are in it.
    pub fn contains(&self, path: &Path) -> bool {
        self.root.as_ref().is_some_and(|root| normalized(path).starts_with(root))
    }

    /// Whether the project is in this directory.
    pub fn is_below(&self, directory: &Path) -> bool {
        self.root.as_ref().is_some_and(|root| root.starts_with(normalized(directory)))
    }

    /// A handle that names a file without access to its content, and the file's real path.
    ///
    /// Opening such a handle has no side effect, even on a device or a pipe. The path comes from
    /// the handle, so no link can be exchanged between the check and the use.
    fn open(&self, path: &Path) -> Result<(rustix::fd::OwnedFd, PathBuf), ReadError> {
        let outside = |root: &Path| ReadError::Outside { root: super::shown_path::relative(root) };
        let nothing = || ReadError::Outside { root: "without files".to_owned() };
        let root = self.root.as_deref().ok_or_else(nothing)?;
        // Before anything is asked of the file system, so that an error does not tell what exists.
        if !normalized(path).starts_with(root) {
            return Err(outside(root));
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let handle = openat(CWD, path, flags, Mode::empty()).map_err(io::Error::from)?;
        let descriptor = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let real = readlinkat(CWD, descriptor, Vec::new()).map_err(io::Error::from)?;
        let real = PathBuf::from(std::ffi::OsString::from(
            real.into_string().map_err(|_| io::Error::other("its real path is not UTF-8"))?,
        ));
        if real.starts_with(root) { Ok((handle, real)) } else { Err(outside(root)) }
    }

    /// The memory of the pipeline, which its files are a part of.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// In bytes. A module's source is several times as large in memory as on disk.
    pub fn largest_file(&self) -> u64 {
        (self.memory.limit() / 8).min(LARGEST_FILE)
    }
}

fn too_large(size: u64, limit: u64) -> ReadError {
    let shown = |bytes| bytesize::ByteSize(bytes).display().iec();
    ReadError::TooLarge { size: shown(size), limit: shown(limit) }
}

/// The path without `.` and `..`, by its text alone.
fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}
