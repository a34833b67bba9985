//! Where the repository of a work tree is.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{git_config, git_file};

/// Most bytes of a file that only names a path.
const LONGEST: u64 = 64 * 1024;

/// Most bytes of a configuration.
pub const LARGEST_CONFIG: u64 = 16 << 20;

/// The repository of one work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Holds `HEAD` and `index` of the work tree. Absolute, without links.
    pub git: PathBuf,
    /// Holds objects, refs and configuration. Another directory than `git` for a work tree that was added with
    /// `git worktree add`.
    pub common: PathBuf,
}

impl Repository {
    /// The repository that `.git` in this directory is or leads to. `None` if it leads to none.
    pub fn of(work_tree: &Path) -> Option<Self> {
        let dot_git = work_tree.join(".git");
        let git = match fs::symlink_metadata(&dot_git).ok()? {
            found if found.is_dir() || found.is_symlink() => dot_git,
            _ => work_tree.join(path_in(&dot_git, b"gitdir:")?),
        };
        let git = git.canonicalize().ok()?;
        let common = match path_in(&git.join("commondir"), b"") {
            Some(common) => git.join(common).canonicalize().ok()?,
            None => git.clone(),
        };
        let is_repository =
            git.join("HEAD").symlink_metadata().is_ok() && common.join("objects").is_dir();
        is_repository.then_some(Self { git, common })
    }

    /// Whether the work tree was added to another one's repository.
    pub fn is_linked(&self) -> bool {
        self.git != self.common
    }

    /// Whether the repository says of itself that it has no work tree. One that others were added to still has
    /// theirs.
    pub fn is_bare(&self) -> bool {
        let bare = self.setting("core", "bare");
        !self.is_linked()
            && bare.is_some_and(|bare| matches!(bare.as_str(), "true" | "yes" | "on" | "1"))
    }

    /// A value of the repository's configuration.
    pub fn setting(&self, section: &str, key: &str) -> Option<String> {
        let config = git_file::read(&self.common.join("config"), LARGEST_CONFIG).ok()?;
        git_config::value(&config, section, key)
    }

    /// The length of an object's hash in bytes.
    pub fn hash_length(&self) -> usize {
        let format = self.setting("extensions", "objectformat");
        if format.as_deref() == Some("sha256") { 32 } else { 20 }
    }
}

/// The path that a file consists of, behind `prefix`.
fn path_in(file: &Path, prefix: &[u8]) -> Option<PathBuf> {
    let text = git_file::read(file, LONGEST).ok()?;
    let text = text.strip_prefix(prefix)?;
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'))?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&text[..=end])))
}
