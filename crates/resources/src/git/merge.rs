//! Brings a commit together with what others have pushed.
//!
//! That happens in a worktree of its own, below the repository's git directory. The files and the branch of the
//! artifact stay as they are, whatever comes of it.

use std::path::{Path, PathBuf};

use crate::error::{ResourceError, printable};

use super::commits;
use super::runner::{Git, GitFailure};

/// What to do if the branch has got other commits.
#[derive(PartialEq)]
pub enum Strategy {
    /// Fail.
    None,
    Merge,
    Rebase {
        name: Option<String>,
        options: Vec<String>,
    },
}

/// A temporary worktree.
struct Worktree<'g, 'a> {
    git: &'g Git<'a>,
    folder: tempfile::TempDir,
}

impl<'g, 'a> Worktree<'g, 'a> {
    fn new(git: &'g Git<'a>, commit: &str) -> Result<Self, ResourceError> {
        let folder = git.line(["rev-parse", "--path-format=absolute", "--git-common-dir"]);
        let folder = PathBuf::from(folder.map_err(GitFailure::of("find the git directory"))?);
        let folder = tempfile::Builder::new()
            .prefix("ci-put-")
            .tempdir_in(&folder)
            .map_err(ResourceError::io("make a temporary directory in", &folder))?;
        let new = Self { git, folder };
        let tree = new.path();
        let args = [
            "worktree".as_ref(),
            "add".as_ref(),
            "--quiet".as_ref(),
            "--detach".as_ref(),
            "--".as_ref(),
            tree.as_os_str(),
            commit.as_ref(),
        ];
        git.run(args).map_err(GitFailure::of("make a temporary worktree"))?;
        Ok(new)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tree")
    }
}

impl Drop for Worktree<'_, '_> {
    fn drop(&mut self) {
        let tree = self.path();
        let args = [
            "worktree".as_ref(),
            "remove".as_ref(),
            "--force".as_ref(),
            "--force".as_ref(),
            "--".as_ref(),
            tree.as_os_str(),
        ];
        _ = self.git.run(args);
    }
}

/// The commit to push so that the branch keeps what is at `theirs`.
pub fn together(
    git: &Git<'_>,
    strategy: &Strategy,
    ours: &str,
    theirs: &str,
) -> Result<String, ResourceError> {
    if is_ancestor(git, theirs, ours) {
        return Ok(ours.to_owned());
    }
    if is_ancestor(git, ours, theirs) {
        return Ok(theirs.to_owned());
    }
    let worktree = Worktree::new(git, ours)?;
    let tree = git.at(&worktree.path());
    // Pointers do for merging.
    let tree = tree.with(tree.environment.with("GIT_LFS_SKIP_SMUDGE", "1"));
    match strategy {
        Strategy::None => return Ok(ours.to_owned()),
        Strategy::Merge => {
            let message = format!("Merge commit '{theirs}'");
            let args = ["merge", "--quiet", "--no-edit", "--ff", "-m", &message, theirs];
            tree.run(args).map_err(|failure| conflict(&tree, failure, "merge"))?;
        }
        Strategy::Rebase { name, options } => {
            let mut args =
                vec!["rebase".to_owned(), "--quiet".to_owned(), "--rebase-merges".to_owned()];
            args.extend(name.iter().map(|name| format!("--strategy={name}")));
            args.extend(options.iter().map(|option| format!("--strategy-option={option}")));
            args.push(theirs.to_owned());
            tree.run(args).map_err(|failure| conflict(&tree, failure, "rebase"))?;
        }
    }
    commits::resolve(&tree, "HEAD")?
        .ok_or_else(|| ResourceError::failed("the merge has left no commit"))
}

fn is_ancestor(git: &Git<'_>, one: &str, other: &str) -> bool {
    git.run(["merge-base", "--is-ancestor", one, other]).is_ok()
}

fn conflict(tree: &Git<'_>, failure: GitFailure, action: &str) -> ResourceError {
    let files = tree.run(["diff", "--name-only", "--diff-filter=U", "-z"]).unwrap_or_default();
    let files = String::from_utf8_lossy(&files).into_owned();
    let files: Vec<String> = files
        .split('\0')
        .filter(|file| !file.is_empty())
        .take(10)
        .map(|file| format!("`{}`", printable(file)))
        .collect();
    if files.is_empty() {
        return failure.because(&format!("{action} what others have pushed"));
    }
    ResourceError::failed(format!(
        "cannot {action}: what others have pushed conflicts in {}; resolve it and push again",
        files.join(", ")
    ))
}

/// Forgets worktrees of `put`s that were killed. Those of others are not touched.
pub fn forget(git: &Git<'_>) {
    let Ok(listed) = git.lines(["worktree", "list", "--porcelain"]) else { return };
    for path in listed.iter().filter_map(|line| line.strip_prefix("worktree ")) {
        let path = Path::new(path);
        let is_ours = path
            .parent()
            .and_then(Path::file_name)
            .is_some_and(|name| name.to_string_lossy().starts_with("ci-put-"));
        if is_ours && !path.exists() {
            let args = [
                "worktree".as_ref(),
                "remove".as_ref(),
                "--force".as_ref(),
                "--force".as_ref(),
                "--".as_ref(),
                path.as_os_str(),
            ];
            _ = git.run(args);
        }
    }
}
