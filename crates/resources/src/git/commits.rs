//! Which commits are versions.

use std::collections::HashSet;

use crate::error::ResourceError;

use super::history::TIP;
use super::runner::{Git, GitFailure, lines};
use super::source::{MessageFilter, Source};

/// Messages that say that a commit is no version.
const SKIPPED: [&str; 2] = ["\\[ci[[:space:]]skip\\]", "\\[skip[[:space:]]ci\\]"];

fn failed(failure: GitFailure) -> ResourceError {
    failure.because("list commits")
}

/// The commit that something names in the repository, if it is there.
pub fn resolve(git: &Git<'_>, name: &str) -> Result<Option<String>, ResourceError> {
    // What is missing is not fetched one by one.
    let git = git.with(git.environment.with("GIT_NO_LAZY_FETCH", "1"));
    match git.line([
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &format!("{name}^{{commit}}"),
    ]) {
        Ok(commit) => Ok(Some(commit)),
        Err(failure) if failure.stdout.is_empty() => Ok(None),
        Err(failure) => Err(failed(failure)),
    }
}

/// The commits of the branch by first parents, newest first; without those before `given`.
pub fn on_branch(
    git: &Git<'_>,
    source: &Source,
    given: Option<&str>,
) -> Result<Vec<String>, ResourceError> {
    listed(git, source, &[TIP], given)
}

/// The same from any commits or options of `git rev-list`.
pub fn listed(
    git: &Git<'_>,
    source: &Source,
    from: &[&str],
    given: Option<&str>,
) -> Result<Vec<String>, ResourceError> {
    let mut args: Vec<String> =
        ["rev-list", "--first-parent", "--date-order"].map(str::to_owned).to_vec();
    args.extend(from.iter().map(|from| (*from).to_owned()));
    if let Some(given) = given
        && let Some(parent) = resolve(git, &format!("{given}~1"))?
    {
        args.push(format!("^{parent}"));
    }
    args.push("--".to_owned());
    args.extend(source.pathspecs());
    git.lines(args).map_err(failed)
}

/// `given`, if it is a version, and newer versions, oldest first.
pub fn since(git: &Git<'_>, source: &Source, given: &str) -> Result<Vec<String>, ResourceError> {
    let mut commits = filtered(git, source, on_branch(git, source, Some(given))?)?;
    commits.reverse();
    Ok(commits)
}

/// Those whose message the filters let through, in the same order.
pub fn filtered(
    git: &Git<'_>,
    source: &Source,
    mut commits: Vec<String>,
) -> Result<Vec<String>, ResourceError> {
    if !source.include.patterns.is_empty() {
        let included = matching(git, &commits, &source.include)?;
        commits.retain(|commit| included.contains(commit));
    }
    // Not by `--invert-grep`, which does not know of `--all-match`.
    let excluded = matching(git, &commits, &source.exclude)?;
    commits.retain(|commit| !excluded.contains(commit));
    if !source.disable_ci_skip {
        let patterns = SKIPPED.map(str::to_owned).to_vec();
        let skipped = matching(git, &commits, &MessageFilter { patterns, all_match: false })?;
        commits.retain(|commit| !skipped.contains(commit));
    }
    Ok(commits)
}

/// Those with a message in which a pattern is found, or each pattern if so wanted.
fn matching(
    git: &Git<'_>,
    commits: &[String],
    filter: &MessageFilter,
) -> Result<HashSet<String>, ResourceError> {
    if commits.is_empty() || filter.patterns.is_empty() {
        return Ok(HashSet::new());
    }
    let mut args =
        vec!["rev-list".to_owned(), "--stdin".to_owned(), "--no-walk=unsorted".to_owned()];
    args.extend(filter.patterns.iter().map(|pattern| format!("--grep={pattern}")));
    if filter.all_match {
        args.push("--all-match".to_owned());
    }
    let output = git.feed(args, (commits.join("\n") + "\n").into_bytes());
    Ok(lines(&output.map_err(failed)?).into_iter().collect())
}
