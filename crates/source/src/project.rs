//! The directory that a pipeline belongs to.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, lstat};
use rustix::process::geteuid;

use super::error::{SourceError, shown};
use super::repository::Repository;

/// A directory whose files are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Absolute and without symbolic links.
    root: PathBuf,
}

impl Project {
    /// The project of a pipeline's file: `explicit` if it is given, or else the top of the git work tree that
    /// holds the file, or else the file's directory.
    ///
    /// Whoever can make a `.git` somewhere above could make a project of what is around it. So only those count
    /// that this user, root or the owner of the file has made. The root directory is nobody's project.
    pub fn find(pipeline: &Path, explicit: Option<&Path>) -> Result<Self, SourceError> {
        if let Some(explicit) = explicit {
            return Self::at(explicit);
        }
        let io =
            |cause: io::Error| SourceError::Io { action: "find", path: shown(pipeline), cause };
        let file = pipeline.canonicalize().map_err(io)?;
        let directory = file.parent().unwrap_or(&file);
        let root = work_tree_above(directory, &file).unwrap_or_else(|| directory.to_owned());
        Ok(Self { root })
    }

    /// A directory of the machine.
    pub fn at(directory: &Path) -> Result<Self, SourceError> {
        let io =
            |cause: io::Error| SourceError::Io { action: "find", path: shown(directory), cause };
        let root = directory.canonicalize().map_err(io)?;
        if !root.is_dir() {
            return Err(io(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root })
    }

    /// Absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The nearest top of a work tree at or above `directory` that this user, root or the owner of `file` has made.
pub fn work_tree_above(directory: &Path, file: &Path) -> Option<PathBuf> {
    let mut trusted = vec![geteuid().as_raw(), 0];
    trusted.extend(lstat(file).ok().map(|stat| stat.st_uid));
    let mut above = directory.ancestors().filter(|above| above.parent().is_some());
    above.find(|above| is_work_tree(above, &trusted)).map(Path::to_owned)
}

fn is_work_tree(directory: &Path, trusted: &[u32]) -> bool {
    let Ok(git) = lstat(directory.join(".git")) else { return false };
    let Ok(around) = lstat(directory) else { return false };
    let kind = FileType::from_raw_mode(git.st_mode);
    let is_git = matches!(kind, FileType::Directory | FileType::RegularFile);
    let mode = Mode::from_raw_mode(around.st_mode);
    // Whoever may write to a directory may move things into it that others have made. In one with a sticky bit
    // they may not take the place of what is there.
    let others_write = mode.contains(Mode::WOTH);
    let is_kept = mode.contains(Mode::SVTX) && around.st_uid == geteuid().as_raw();
    is_git
        && trusted.contains(&git.st_uid)
        && (!others_write || is_kept)
        && Repository::of(directory).is_none_or(|repository| !repository.is_bare())
}
