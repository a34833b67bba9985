//! Files of Git LFS.

use std::fs;

use crate::error::ResourceError;
use crate::program;

use super::config::Variable;
use super::runner::{Git, GitFailure};

/// What `git lfs install` sets.
pub fn config() -> Vec<Variable> {
    [
        ("filter.lfs.clean", "git-lfs clean -- %f"),
        ("filter.lfs.smudge", "git-lfs smudge -- %f"),
        ("filter.lfs.process", "git-lfs filter-process"),
        ("filter.lfs.required", "true"),
    ]
    .map(|(name, value)| Variable::new(name, value))
    .to_vec()
}

/// Fails if the checked out files include pointers that nothing has replaced by their content.
pub fn check(git: &Git<'_>) -> Result<(), ResourceError> {
    if program::find("git-lfs").is_some() {
        return Ok(());
    }
    let failed = |failure: GitFailure| failure.because("list files");
    let attributes =
        git.run(["ls-files", "-z", "--", ".gitattributes", "**/.gitattributes"]).map_err(failed)?;
    let names_lfs = |path: &[u8]| {
        use std::os::unix::ffi::OsStrExt;
        let path = git.directory.join(std::ffi::OsStr::from_bytes(path));
        fs::read(path)
            .is_ok_and(|content| content.windows(10).any(|window| window == b"filter=lfs"))
    };
    if !attributes.split(|byte| *byte == 0).any(|path| !path.is_empty() && names_lfs(path)) {
        return Ok(());
    }
    let files = git.run(["ls-files", "-z"]).map_err(failed)?;
    let found = git.feed(["check-attr", "-z", "--stdin", "filter"], files).map_err(failed)?;
    let fields: Vec<&[u8]> = found.split(|byte| *byte == 0).collect();
    let pointer = fields.chunks(3).find(|record| record.get(2) == Some(&&b"lfs"[..]));
    match pointer {
        None => Ok(()),
        Some(record) => Err(ResourceError::failed(format!(
            "`{}` is a file of Git LFS, and `git-lfs` is not installed: install it, or set `disable_git_lfs: true` to get the pointers",
            crate::error::printable(&String::from_utf8_lossy(record[0]))
        ))),
    }
}
