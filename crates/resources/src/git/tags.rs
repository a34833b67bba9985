//! Versions that tags name.

use std::collections::HashSet;
use std::process::Command;

use crate::error::ResourceError;
use crate::program::{self, Messages};
use crate::protocol::{Version, version};

use super::check::tagged;
use super::commits;
use super::history;
use super::refs::is_valid;
use super::remote;
use super::runner::{Git, GitFailure, lines};
use super::source::{Source, TagFilter};

fn failed(failure: GitFailure) -> ResourceError {
    failure.because("list tags")
}

/// Only what a tag names is a version, never the end of the branch by itself.
pub fn versions(
    git: &Git<'_>,
    source: &Source,
    given: Option<&str>,
) -> Result<Vec<Version>, ResourceError> {
    fetch(git, source)?;
    let given = match given {
        Some(name) => of_tag(git, name)?.map(|commit| (name, commit)),
        None => None,
    };
    let tags =
        matching(git, source, given.as_ref().map(|(name, commit)| (*name, commit.as_str())))?;
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let since = given.as_ref().map(|(_, commit)| commit.as_str());
    let listed = commits::listed(git, source, &["--all"], since)?;
    let eligible = commits::filtered(git, source, listed)?;
    let mut versions = if source.tag_ancestors {
        before(git, &tags, eligible)?
    } else {
        let eligible: HashSet<String> = eligible.into_iter().collect();
        let mut versions = Vec::new();
        for tag in &tags {
            // A tag of something other than a commit is no version.
            if let Some(commit) = commits::resolve(git, &format!("refs/tags/{tag}"))?
                && eligible.contains(&commit)
            {
                versions.push(tagged(tag, &commit));
            }
        }
        versions
    };
    Ok(versions.split_off(versions.len().saturating_sub(source.version_depth)))
}

/// Fetches all tags, and the branch or all branches.
fn fetch(git: &Git<'_>, source: &Source) -> Result<(), ResourceError> {
    history::initialise(git, source)?;
    let branch = match &source.branch {
        None => "+refs/heads/*:refs/heads/*".to_owned(),
        Some(branch) => {
            let tip = remote::tip(git, source, Some(branch))?;
            format!("+{}:refs/heads/{branch}", tip.name)
        }
    };
    let args =
        ["fetch", "--quiet", "--tags", "--force", &history::filter(source), "origin", &branch];
    let what = format!("fetch the tags of `{}`", source.uri.plain);
    git.show(args).map(drop).map_err(|failure| failure.because(&what))
}

/// The commit of a given version, which a tag or a commit names.
fn of_tag(git: &Git<'_>, name: &str) -> Result<Option<String>, ResourceError> {
    if is_valid(name)
        && let Some(commit) = commits::resolve(git, &format!("refs/tags/{name}"))?
    {
        return Ok(Some(commit));
    }
    if super::refs::is_object(name) { commits::resolve(git, name) } else { Ok(None) }
}

/// The tags that the filter lets through, oldest first, from the given version on.
fn matching(
    git: &Git<'_>,
    source: &Source,
    given: Option<(&str, &str)>,
) -> Result<Vec<String>, ResourceError> {
    let mut args = ["tag", "--list", "--sort=creatordate", "--format=%(refname:strip=2)"]
        .map(str::to_owned)
        .to_vec();
    if let Some(branch) = &source.branch {
        args.push(format!("--merged=refs/heads/{branch}"));
    }
    let after_tag = match given {
        Some((name, _)) if source.branch.is_none() && !super::refs::is_object(name) => Some(name),
        Some((_, commit)) => {
            args.push(format!("--contains={commit}"));
            None
        }
        None => None,
    };
    if let Some(TagFilter::Glob(glob)) = &source.tags {
        args.extend(["--".to_owned(), glob.clone()]);
    }
    let mut tags = git.lines(args).map_err(failed)?;
    if let Some(TagFilter::Regex(regex)) = &source.tags {
        tags = grep(git, regex, tags)?;
    }
    if let Some(name) = after_tag {
        let first = tags.iter().position(|tag| tag == name).unwrap_or(tags.len());
        tags.drain(..first);
    }
    Ok(tags)
}

/// By grep, whose regular expressions these are.
fn grep(git: &Git<'_>, regex: &str, tags: Vec<String>) -> Result<Vec<String>, ResourceError> {
    let mut command = Command::new("grep");
    command.args(["-E", "-x", "-e", regex]);
    let input = tags.iter().map(|tag| format!("{tag}\n")).collect::<String>();
    let outcome = program::run(command, Some(input.into_bytes()), Messages::Kept, git.log)?;
    match outcome.status.code() {
        Some(0 | 1) => Ok(lines(&outcome.stdout)),
        _ => Err(ResourceError::failed(format!(
            "`tag_regex` is not valid: {}",
            crate::error::printable(outcome.stderr.trim())
        ))),
    }
}

/// Those commits that a tag follows, oldest first.
fn before(
    git: &Git<'_>,
    tags: &[String],
    eligible: Vec<String>,
) -> Result<Vec<Version>, ResourceError> {
    let from: String = tags.iter().map(|tag| format!("refs/tags/{tag}\n")).collect();
    let all = git.feed(["rev-list", "--stdin"], from.into_bytes()).map_err(failed)?;
    let all: HashSet<String> = lines(&all).into_iter().collect();
    let versions = eligible.into_iter().rev().filter(|commit| all.contains(commit));
    Ok(versions.map(|commit| version("ref", commit)).collect())
}
