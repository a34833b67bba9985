//! Finds versions.

use serde_json::Value;

use crate::error::ResourceError;
use crate::protocol::{Job, Response, Version, version};

use super::commits;
use super::environment::Environment;
use super::history::History;
use super::remote;
use super::runner::Git;
use super::source::Source;
use super::tags;

/// Without a version the newest, else that and newer ones, oldest first.
pub fn check(job: &Job<'_>, source: &Source) -> Result<Response, ResourceError> {
    let given = job.version.map(|version| version.text("ref")).transpose()?.flatten();
    // What is no name of anything is unknown, as is the version of another source.
    let given = given.filter(|given| !given.starts_with('-') && !given.contains(['\n', '\0']));
    let scratch = job.scratch()?;
    let environment = Environment::new(source, scratch.path())?;
    let git = Git::new(job.log, scratch.path(), environment);
    let versions = if source.tags.is_some() {
        tags::versions(&git, source, given.as_deref())?
    } else {
        commits_of_branch(&git, source, given.as_deref())?
    };
    Ok(Response::Versions(versions))
}

fn commits_of_branch(
    git: &Git<'_>,
    source: &Source,
    given: Option<&str>,
) -> Result<Vec<Version>, ResourceError> {
    let tip = remote::tip(git, source, source.branch.as_deref())?;
    let is_newest = given.is_none_or(|given| given == tip.object);
    if source.takes_all_commits() && source.version_depth == 1 && is_newest && tip.name != "HEAD^{}"
    {
        // An annotated tag as the branch is not its commit.
        if !tip.name.starts_with("refs/tags/") {
            return Ok(vec![version("ref", tip.object)]);
        }
    }
    let mut history = History::new(git, source, &tip)?;
    let commits = match given {
        None => history.newest(source.version_depth)?,
        Some(given) => {
            history.complete()?;
            match commits::resolve(git, given)? {
                Some(given) => commits::since(git, source, &given)?,
                None => history.newest(source.version_depth)?,
            }
        }
    };
    Ok(commits.into_iter().map(|commit| version("ref", commit)).collect())
}

/// A version that a tag names.
pub fn tagged(tag: &str, commit: &str) -> Version {
    let mut version = version("ref", tag);
    version.insert("commit".to_owned(), Value::String(commit.to_owned()));
    version
}
