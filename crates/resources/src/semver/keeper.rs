//! The number in the repository: read, and replaced by comparing and swapping.
//!
//! A bare repository without files is all that it takes: a commit is made of the branch's directories and one new
//! file. If others push in between, the number is read again.

use std::path::Path;
use std::thread;
use std::time::Duration;

use semver::Version as Number;

use crate::error::{ResourceError, printable};
use crate::git::{Environment, Git, GitFailure, remote};
use crate::protocol::Job;

use super::{Config, number};

/// How often a push is tried that others are faster than.
const ATTEMPTS: u32 = 10;

/// The pause after the first such push; it doubles, up to 32 times this.
const PAUSE: Duration = Duration::from_millis(50);

const TIP: &str = "refs/heads/ci-tip";

pub struct Keeper<'a, 'c> {
    git: Git<'a>,
    config: &'c Config,
}

impl<'a, 'c> Keeper<'a, 'c> {
    pub fn new(job: &Job<'a>, config: &'c Config, scratch: &Path) -> Result<Self, ResourceError> {
        let mut environment = Environment::new(&config.git, scratch)?;
        let (name, address) = match &config.user {
            Some(user) => user.clone(),
            None => ("git".to_owned(), "git@localhost".to_owned()),
        };
        let git = Git::new(job.log, scratch, environment.clone());
        for (variables, key, value) in [
            (["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"], "user.name", name),
            (["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"], "user.email", address),
        ] {
            // The user of this machine, unless the source names somebody.
            if config.user.is_some() || git.run(["config", "--get", key]).is_err() {
                for variable in variables {
                    environment = environment.with(variable, &value);
                }
            }
        }
        let git = git.with(environment);
        crate::git::history::initialise(&git, &config.git)?;
        Ok(Self { git, config })
    }

    /// The number now.
    pub fn present(&self) -> Result<Number, ResourceError> {
        self.fetch(true)?;
        Ok(self.at(TIP)?.unwrap_or_else(|| self.config.initial.clone()))
    }

    /// The numbers from a given one on, oldest first; without one the present number.
    pub fn since(&self, given: Option<&Number>) -> Result<Vec<Number>, ResourceError> {
        self.fetch(given.is_none())?;
        let Some(present) = self.at(TIP)? else { return Ok(vec![self.config.initial.clone()]) };
        let mut found = vec![present.clone()];
        let Some(given) = given.filter(|given| **given < present) else { return Ok(found) };
        let commits = self.git.lines(["rev-list", TIP, "--", &self.config.file]);
        for commit in
            commits.map_err(GitFailure::of("list the versions of the file"))?.iter().skip(1)
        {
            let Some(older) = self.at(commit)?.filter(|older| older >= given) else { break };
            found.push(older);
        }
        found.reverse();
        Ok(found)
    }

    /// Writes the number that follows from the present one.
    pub fn replace(
        &self,
        next: impl Fn(Number) -> Result<Number, ResourceError>,
    ) -> Result<Number, ResourceError> {
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS {
            self.fetch(true)?;
            let present = self.at(TIP)?;
            let new = next(present.clone().unwrap_or_else(|| self.config.initial.clone()))?;
            if present.as_ref() == Some(&new) {
                self.git.log.line(&format!("the number is `{new}` already"));
                return Ok(new);
            }
            let commit = self.commit(&new)?;
            let target = format!("{commit}:refs/heads/{}", self.config.branch);
            let pushed =
                self.git.show(["push", "--porcelain", "--", &self.config.git.uri.plain, &target]);
            match pushed {
                Ok(_) => return Ok(new),
                Err(failure) => reason = self.passing(failure)?,
            }
            self.git.log.line(&format!("the push was rejected ({reason}), trying again"));
            thread::sleep(PAUSE * 2_u32.pow(attempt.min(5)));
        }
        Err(ResourceError::failed(format!(
            "the push was rejected {ATTEMPTS} times, as others have pushed in between ({reason})"
        )))
    }

    /// Why others were faster, if that is why the push failed.
    fn passing(&self, failure: GitFailure) -> Result<String, ResourceError> {
        let output = String::from_utf8_lossy(&failure.stdout).into_owned();
        let line = output.lines().find(|line| line.starts_with("!\t"));
        match line.filter(|line| crate::git::push::is_passing(line)) {
            Some(line) => Ok(printable(line.rsplit('\t').next().unwrap_or(line))),
            None => {
                let mut failure = failure;
                failure.stderr = format!("{output}{}", failure.stderr);
                Err(failure.because(&format!("push to `{}`", self.config.git.uri.plain)))
            }
        }
    }

    fn fetch(&self, is_shallow: bool) -> Result<(), ResourceError> {
        let tip = remote::tip(&self.git, &self.config.git, Some(&self.config.branch))?;
        let refspec = format!("+{}:{TIP}", tip.name);
        let mut args = vec!["fetch", "--quiet", "--no-tags", "--filter=blob:none"];
        if is_shallow {
            args.push("--depth=1");
        }
        args.extend(["origin", &refspec]);
        let what = format!("fetch `{}`", self.config.git.uri.plain);
        self.git.show(args).map(drop).map_err(|failure| failure.because(&what))
    }

    /// The number in a commit; `None` if the file is not there or empty.
    fn at(&self, commit: &str) -> Result<Option<Number>, ResourceError> {
        let file = &self.config.file;
        let listed = self.git.run(["ls-tree", "-z", "--full-tree", commit, "--", file]);
        if listed.map_err(GitFailure::of("look for the file"))?.is_empty() {
            return Ok(None);
        }
        let text = self.git.line(["cat-file", "blob", &format!("{commit}:{file}")]);
        let text =
            text.map_err(|failure| failure.because(&format!("read `{}`", printable(file))))?;
        match text.split_whitespace().next() {
            None => Ok(None),
            Some(text) => number(file, text).map(Some),
        }
    }

    /// A commit on top of the branch that has the number in the file.
    fn commit(&self, new: &Number) -> Result<String, ResourceError> {
        let Self { git, config } = self;
        let failed = GitFailure::of("make a commit");
        let made = || -> Result<String, GitFailure> {
            let blob =
                git.feed(["hash-object", "-w", "--stdin"], format!("{new}\n").into_bytes())?;
            let blob = String::from_utf8_lossy(&blob).trim().to_owned();
            git.run(["read-tree", TIP])?;
            let entry = format!("100644,{blob},{}", config.file);
            git.run(["update-index", "--add", "--cacheinfo", &entry])?;
            let tree = git.line(["write-tree", "--missing-ok"])?;
            let message = config
                .message
                .replace("%version%", &new.to_string())
                .replace("%file%", &config.file);
            let commit = git.line(["commit-tree", &tree, "-p", TIP, "-m", &message])?;
            let commit = unique(git.run(["cat-file", "commit", &commit])?);
            let commit = git.feed(["hash-object", "-t", "commit", "-w", "--stdin"], commit)?;
            Ok(String::from_utf8_lossy(&commit).trim().to_owned())
        };
        made().map_err(failed)
    }
}

/// The same commit with a header that no other one has. Two bumps in the same second would else make the same commit,
/// and pushing it would succeed for both.
fn unique(mut commit: Vec<u8>) -> Vec<u8> {
    let end = commit.windows(2).position(|pair| pair == b"\n\n").unwrap_or(commit.len());
    let header = format!("\nci-bump {}", uuid::Uuid::new_v4());
    commit.splice(end..end, header.into_bytes());
    commit
}
