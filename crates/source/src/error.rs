//! Why files of a project cannot be had.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

/// Why an import, a listing or a hash of a project's files failed. Paths are relative to the project.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// By `..`, by an absolute path or by a symbolic link.
    #[error("`{path}` leads out of the project `{project}`, name a path inside of it")]
    Outside { path: String, project: String },
    /// `hint` says what is there instead.
    #[error("`{path}` is not in the project `{project}`{hint}")]
    Missing { path: String, project: String, hint: String },
    #[error("glob `{glob}` is not valid: {reason}")]
    Glob { glob: String, reason: String },
    /// Nothing to hash.
    #[error("no file of the project `{project}` matches {patterns}")]
    NoMatch { patterns: String, project: String },
    /// Something wrote to the file all the time.
    #[error(
        "`{path}` changed each of the {attempts} times that it was read, stop what writes to it or leave it out \
         with `exclude` or in `.ciignore`"
    )]
    Changed { path: String, attempts: u32 },
    /// The user may not read the file or list the directory.
    #[error(
        "cannot read `{path}`, make it readable or leave it out with `exclude` or in `.ciignore`: {cause}"
    )]
    Unreadable { path: String, cause: io::Error },
    /// The file system of the copy is full, or the user's quota.
    #[error("no space for the copy of `{path}`, free some on the disk of the copy: {cause}")]
    NoSpace { path: String, cause: io::Error },
    /// `action` is what failed, such as "read".
    #[error("cannot {action} `{path}`: {cause}")]
    Io { action: &'static str, path: String, cause: io::Error },
    /// [`Progress::cancel`](crate::Progress::cancel) was called.
    #[error("the import was cancelled")]
    Cancelled,
}

/// What fails if a copy cannot be written.
const WRITE: &str = "write the copy of";

impl SourceError {
    /// Of a call that reads something of the project.
    pub(crate) fn read(path: &Path, errno: Errno) -> Self {
        let path = shown(path);
        match errno {
            Errno::ACCESS | Errno::PERM => Self::Unreadable { path, cause: errno.into() },
            _ => Self::Io { action: "read", path, cause: errno.into() },
        }
    }

    /// Whether something is wrong with the copy and not with the project.
    pub(crate) fn is_of_copy(&self) -> bool {
        matches!(self, Self::Io { action: WRITE, .. })
    }

    /// Of a call that writes something into the copy.
    pub(crate) fn write(path: &Path, errno: Errno) -> Self {
        let path = shown(path);
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace { path, cause: errno.into() },
            _ => Self::Io { action: WRITE, path, cause: errno.into() },
        }
    }
}

/// A path on one line, whatever bytes are in it.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.as_os_str();
    if text.is_empty() {
        return ".".to_owned();
    }
    let lossy = String::from_utf8_lossy(text.as_bytes());
    if lossy.chars().any(char::is_control) {
        lossy
            .chars()
            .flat_map(|letter| {
                if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
            })
            .collect()
    } else {
        lossy.into_owned()
    }
}
