//! Which files of a project are meant.

use std::path::PathBuf;

/// A part of a project. The default is all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// A directory of the project, whose content is taken, or one file; relative to the project. `None` is the
    /// project's directory.
    pub path: Option<PathBuf>,
    /// If any are given, only what matches one of these globs is taken, with everything below a directory that
    /// matches. They have the syntax of `.gitignore` and are relative to `path`. What is ignored stays so.
    pub include: Vec<String>,
    /// What matches one of these globs is left out. The syntax is the same.
    pub exclude: Vec<String>,
    /// Whether files are taken that ignore rules leave out.
    pub ignored: bool,
    /// Whether the `.git` of directories that are taken comes along. No glob and no rule applies to it.
    pub git: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self { path: None, include: Vec::new(), exclude: Vec::new(), ignored: false, git: true }
    }
}
