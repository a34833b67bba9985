//! As much of a branch's history as a check needs, in a bare repository.
//!
//! Files are not fetched, and directories only if commits are chosen by paths. Most checks want the newest commit, so
//! the history is fetched from its end, and deeper only as long as nothing there is a version.

use std::collections::HashSet;
use std::fs;

use crate::error::ResourceError;

use super::commits;
use super::remote::Tip;
use super::runner::{Git, GitFailure};
use super::source::Source;

/// What the branch is called in the bare repository.
pub const TIP: &str = "refs/heads/ci-tip";

/// How many commits are fetched at first, and then.
const DEPTHS: [usize; 2] = [32, 1024];

pub struct History<'g, 'a> {
    git: &'g Git<'a>,
    source: &'g Source,
    refspec: String,
}

impl<'g, 'a> History<'g, 'a> {
    pub fn new(git: &'g Git<'a>, source: &'g Source, tip: &Tip) -> Result<Self, ResourceError> {
        initialise(git, source)?;
        Ok(Self { git, source, refspec: format!("+{}:{TIP}", tip.name) })
    }

    /// The newest versions, oldest first.
    pub fn newest(&mut self, count: usize) -> Result<Vec<String>, ResourceError> {
        let first = DEPTHS.iter().filter(|depth| **depth > 2 * count);
        for depth in first {
            if !self.fetch(Some(*depth))? {
                break;
            }
            let found = self.found()?;
            if found.len() >= count || !self.is_shallow() {
                return Ok(last(found, count));
            }
        }
        self.complete()?;
        Ok(last(self.found()?, count))
    }

    /// Fetches the whole history.
    pub fn complete(&mut self) -> Result<(), ResourceError> {
        self.fetch(None).map(drop)
    }

    /// The versions in what is fetched, oldest first.
    fn found(&self) -> Result<Vec<String>, ResourceError> {
        let mut listed = commits::on_branch(self.git, self.source, None)?;
        if self.source.has_paths() {
            // Where the history is cut off a commit seems to add all of its files.
            let shallow = self.shallow();
            listed.retain(|commit| !shallow.contains(commit));
        }
        let mut found = commits::filtered(self.git, self.source, listed)?;
        found.reverse();
        Ok(found)
    }

    /// Returns whether it was possible; each history can be fetched whole.
    fn fetch(&self, depth: Option<usize>) -> Result<bool, ResourceError> {
        let mut args = vec![
            "fetch".to_owned(),
            "--quiet".to_owned(),
            "--no-tags".to_owned(),
            filter(self.source),
        ];
        match depth {
            Some(depth) => args.push(format!("--depth={depth}")),
            None if self.is_shallow() => args.push("--unshallow".to_owned()),
            None => {}
        }
        args.extend(["origin".to_owned(), self.refspec.clone()]);
        match self.git.show(args) {
            Ok(_) => Ok(true),
            Err(failure) if depth.is_some() && failure.says("shallow") => Ok(false),
            Err(failure) => Err(failure.because(&format!("fetch `{}`", self.source.uri.plain))),
        }
    }

    fn is_shallow(&self) -> bool {
        self.git.directory.join("shallow").exists()
    }

    fn shallow(&self) -> HashSet<String> {
        let text = fs::read_to_string(self.git.directory.join("shallow")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn last(mut found: Vec<String>, count: usize) -> Vec<String> {
    found.split_off(found.len().saturating_sub(count))
}

/// Makes an empty bare repository with the source as `origin`.
pub fn initialise(git: &Git<'_>, source: &Source) -> Result<(), ResourceError> {
    let failed = |failure: GitFailure| failure.because("make a temporary repository");
    git.run(["init", "--quiet", "--bare", "--template="]).map_err(failed)?;
    git.run(["config", "remote.origin.url", &source.uri.plain]).map_err(failed)?;
    Ok(())
}

/// What is not fetched: files, and directories too if nobody looks at paths.
pub fn filter(source: &Source) -> String {
    format!("--filter={}", if source.has_paths() { "blob:none" } else { "tree:0" })
}
