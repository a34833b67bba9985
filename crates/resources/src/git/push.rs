//! Pushes, and tries again if others were faster.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::error::{ResourceError, printable};

use super::merge::{self, Strategy};
use super::put::{self, Params};
use super::runner::{Git, GitFailure};
use super::source::Source;
use super::{commits, reason};

/// How often a push is tried that others are faster than.
const ATTEMPTS: u32 = 10;

/// The pause after the first such push; it doubles, up to 32 times this.
const PAUSE: Duration = Duration::from_millis(50);

/// Reasons of a rejection that a merge or a rebase removes, or another try.
const PASSING: &[&str] = &[
    "fetch first",
    "non-fast-forward",
    "cannot lock ref",
    "failed to update ref",
    "incorrect old value",
    "failed to lock",
    "reference already exists",
];

pub struct Push<'p, 'a> {
    pub git: &'p Git<'a>,
    pub source: &'p Source,
    pub params: &'p Params,
    pub tag: Option<String>,
    pub annotation: Option<PathBuf>,
    pub notes: Option<PathBuf>,
}

/// How a push went.
enum Outcome {
    Pushed,
    /// Others have pushed to the branch. Says git's reason.
    Behind(String),
}

/// Pushes a commit to the branch, and returns the commit that was pushed in the end.
pub fn push(push: &Push<'_, '_>, head: &str) -> Result<String, ResourceError> {
    let Push { git, params, .. } = push;
    let target = format!("{}/{}", params.refs_prefix, params.branch.as_deref().unwrap_or_default());
    push.fetch_notes()?;
    let mut last = String::new();
    for attempt in 0..ATTEMPTS {
        let commit = match params.strategy {
            Strategy::None => head.to_owned(),
            _ => match push.fetch_branch()? {
                Some(theirs) => merge::together(git, &params.strategy, head, &theirs)?,
                None => head.to_owned(),
            },
        };
        put::add_tag(push, &commit)?;
        match push.send(&commit, &target)? {
            Outcome::Pushed => {
                push.add_and_send_notes(&commit)?;
                return Ok(commit);
            }
            Outcome::Behind(reason) if params.strategy == Strategy::None => {
                return Err(ResourceError::failed(format!(
                    "the push to `{target}` was rejected, as it has commits that are missing here ({}); set `rebase: true` or `merge: true` to keep them, or `force: true` to overwrite them",
                    printable(&reason)
                )));
            }
            Outcome::Behind(reason) => {
                git.log.line(&format!(
                    "the push to `{target}` was rejected ({}), trying again",
                    printable(&reason)
                ));
                last = reason;
                thread::sleep(PAUSE * 2_u32.pow(attempt.min(5)));
            }
        }
    }
    Err(ResourceError::failed(format!(
        "the push to `{target}` was rejected {ATTEMPTS} times, as others have pushed in between ({})",
        printable(&last)
    )))
}

impl Push<'_, '_> {
    pub fn only_tags(&self, head: &str) -> Result<String, ResourceError> {
        put::add_tag(self, head)?;
        match self.run(&["--tags"])? {
            Outcome::Pushed => Ok(head.to_owned()),
            Outcome::Behind(reason) => Err(rejected(&reason)),
        }
    }

    fn send(&self, commit: &str, target: &str) -> Result<Outcome, ResourceError> {
        self.run(&["--tags", &format!("{commit}:{target}")])
    }

    /// `args` are `--tags` and refspecs.
    fn run(&self, args: &[&str]) -> Result<Outcome, ResourceError> {
        let Self { git, source, params, .. } = self;
        let mut all = vec!["push".to_owned(), "--porcelain".to_owned()];
        all.extend(params.force.then(|| "--force".to_owned()));
        all.extend(params.push_options.iter().map(|option| format!("--push-option={option}")));
        let (flags, refs): (Vec<&str>, Vec<&str>) =
            args.iter().partition(|arg| arg.starts_with("--"));
        all.extend(flags.into_iter().map(str::to_owned));
        all.extend(["--".to_owned(), source.uri.plain.clone()]);
        all.extend(refs.into_iter().map(str::to_owned));
        match git.show(all) {
            Ok(_) => Ok(Outcome::Pushed),
            Err(failure) => self.outcome(failure),
        }
    }

    fn outcome(&self, failure: GitFailure) -> Result<Outcome, ResourceError> {
        let what = format!("push to `{}`", self.source.uri.plain);
        let output = String::from_utf8_lossy(&failure.stdout).into_owned();
        // `!<tab>from:to<tab>[rejected] (reason)`, by git-push(1), "Output".
        let refused: Vec<(String, String)> = output
            .lines()
            .filter_map(|line| line.strip_prefix("!\t")?.split_once('\t'))
            .map(|(names, summary)| {
                let name = names.rsplit_once(':').map_or(names, |(_, to)| to);
                (name.to_owned(), summary.to_owned())
            })
            .collect();
        if refused.is_empty() {
            return Err(failure.because(&what));
        }
        let lasting: Vec<String> = refused
            .iter()
            .filter(|(name, summary)| name.starts_with("refs/tags/") || !is_passing(summary))
            .map(|(name, summary)| format!("`{name}`: {summary}"))
            .collect();
        if lasting.is_empty() {
            let (_, summary) = &refused[0];
            return Ok(Outcome::Behind(summary.clone()));
        }
        let mut text = lasting.join(", ");
        if text.contains("already exists") {
            text.push_str("; the tag is another commit there, set `force: true` to move it");
        }
        // What the server itself says stands in its messages.
        let said: Vec<&str> =
            failure.stderr.lines().filter(|line| line.starts_with("remote:")).collect();
        if !said.is_empty() {
            text = format!("{text}; {}", said.join("; "));
        }
        Err(ResourceError::failed(reason::explained(&what, &text)))
    }

    /// What the branch is now; `None` if it is not there yet.
    fn fetch_branch(&self) -> Result<Option<String>, ResourceError> {
        let Self { git, source, params, .. } = self;
        let branch = params.branch.as_deref().unwrap_or_default();
        let full = format!("refs/heads/{branch}");
        let args = ["fetch", "--quiet", "--no-tags", "--", &source.uri.plain, &full];
        match git.run(args) {
            Ok(_) => commits::resolve(git, "FETCH_HEAD"),
            Err(failure) if failure.says("couldn't find remote ref") => Ok(None),
            Err(failure) => Err(failure.because(&format!("fetch `{branch}`"))),
        }
    }

    fn fetch_notes(&self) -> Result<(), ResourceError> {
        if self.notes.is_none() && self.params.strategy == Strategy::None {
            return Ok(());
        }
        let args = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--",
            &self.source.uri.plain,
            "refs/notes/*:refs/notes/*",
        ];
        self.git.run(args).map(drop).map_err(GitFailure::of("fetch the notes"))
    }

    fn add_and_send_notes(&self, commit: &str) -> Result<(), ResourceError> {
        let Self { git, source, notes, .. } = self;
        let Some(file) = notes else { return Ok(()) };
        let args: [std::ffi::OsString; 7] = [
            "notes".into(),
            "--ref=refs/notes/commits".into(),
            "add".into(),
            "-F".into(),
            file.into(),
            "--".into(),
            commit.into(),
        ];
        git.run(args).map_err(GitFailure::of("add the note"))?;
        let args = ["push", "--quiet", "--", &source.uri.plain, "refs/notes/*"];
        git.show(args).map(drop).map_err(GitFailure::of("push the note"))
    }
}

/// Whether a line of git's output gives a reason that another try may remove.
pub fn is_passing(summary: &str) -> bool {
    PASSING.iter().any(|reason| summary.contains(reason))
}

fn rejected(reason: &str) -> ResourceError {
    ResourceError::failed(format!("the push was rejected ({})", printable(reason)))
}
