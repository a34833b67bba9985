//! Clones a repository, and checks out a version of it.

use std::fs;
use std::io::Write;

use crate::error::ResourceError;

use super::commits;
use super::get::Params;
use super::refs::{is_object, is_valid};
use super::remote;
use super::runner::{Git, GitFailure};
use super::source::Source;

/// A history that got this deep is fetched whole.
const DEEPEST: u64 = 127;

/// Clones without checking anything out.
pub fn clone(
    git: &Git<'_>,
    source: &Source,
    params: &Params,
    branch: Option<&str>,
) -> Result<(), ResourceError> {
    let mut args: Vec<String> =
        ["clone", "--quiet", "--origin=origin", "--no-checkout"].map(str::to_owned).to_vec();
    args.push(
        if params.all_branches { "--no-single-branch" } else { "--single-branch" }.to_owned(),
    );
    args.extend(branch.map(|branch| format!("--branch={branch}")));
    args.extend(params.depth.map(|depth| format!("--depth={depth}")));
    args.extend(tags(source, params).map(str::to_owned));
    args.extend(["--".to_owned(), source.uri.plain.clone(), ".".to_owned()]);
    match git.show(args) {
        Ok(_) => {}
        Err(failure) if failure.says("Remote branch") => {
            return Err(remote::missing(git, source, branch));
        }
        Err(failure) => return Err(failure.because(&format!("clone `{}`", source.uri.plain))),
    }
    configure(git, source)?;
    sparse(git, source)?;
    let mut notes = vec!["fetch", "--quiet"];
    notes.extend(tags(source, params));
    notes.extend(["origin", "refs/notes/*:refs/notes/*"]);
    git.show(notes).map(drop).map_err(GitFailure::of("fetch the notes"))
}

/// Which tags are fetched, if not those of the fetched commits.
fn tags(source: &Source, params: &Params) -> Option<&'static str> {
    match params.fetch_tags.or(source.fetch_tags) {
        Some(false) => Some("--no-tags"),
        Some(true) => Some("--tags"),
        None => source.tags.is_some().then_some("--tags"),
    }
}

/// The user's variables also hold for the steps that use the clone.
fn configure(git: &Git<'_>, source: &Source) -> Result<(), ResourceError> {
    let path = git.directory.join(".git/config");
    let lines: String = source.git_config.iter().map(|variable| variable.lines()).collect();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .map_err(ResourceError::io("open", &path))?;
    file.write_all(lines.as_bytes()).map_err(ResourceError::io("write", &path))
}

fn sparse(git: &Git<'_>, source: &Source) -> Result<(), ResourceError> {
    let paths = &source.sparse_paths;
    if paths.is_empty() || *paths == ["."] {
        return Ok(());
    }
    git.run(["config", "core.sparseCheckout", "true"])
        .map_err(GitFailure::of("set `core.sparseCheckout`"))?;
    let folder = git.directory.join(".git/info");
    fs::create_dir_all(&folder).map_err(ResourceError::io("make", &folder))?;
    crate::destination::write(&folder.join("sparse-checkout"), paths.join("\n") + "\n")
}

/// Checks out what `reference` names, and returns its commit.
pub fn check_out(
    git: &Git<'_>,
    source: &Source,
    params: &Params,
    reference: Option<&str>,
    branch: Option<&str>,
) -> Result<String, ResourceError> {
    let commit = match reference {
        None => {
            commits::resolve(git, "HEAD")?.ok_or_else(|| remote::missing(git, source, branch))?
        }
        Some(reference) => find(git, source, params, reference)?,
    };
    let mut checkout = git.environment.clone();
    if params.disable_git_lfs {
        checkout = checkout.with("GIT_LFS_SKIP_SMUDGE", "1");
    }
    let git = git.with(checkout);
    let what = format!("check out `{}`", reference.unwrap_or("HEAD"));
    git.show(["checkout", "--quiet", "--force", "--detach", &commit, "--"])
        .map_err(|failure| failure.because(&what))?;
    if !params.disable_git_lfs {
        super::lfs::check(&git)?;
    }
    Ok(commit)
}

fn find(
    git: &Git<'_>,
    source: &Source,
    params: &Params,
    reference: &str,
) -> Result<String, ResourceError> {
    if let Some(depth) = params.depth {
        deepen(git, source, params, reference, depth)?;
    }
    if let Some(commit) = local(git, reference)? {
        return Ok(commit);
    }
    let uri = &source.uri.plain;
    if source.search_remote_refs {
        let refs = remote::list(git, source, &[])?;
        match refs.iter().find(|found| found.object == reference && found.name != "HEAD") {
            Some(found) => {
                git.log.line(&format!(
                    "`{reference}` is not in the branch, fetching `{}`",
                    found.name
                ));
                let what = format!("fetch `{}`", found.name);
                git.show(["fetch", "--quiet", "origin", &found.name])
                    .map_err(|failure| failure.because(&what))?;
            }
            None => git.log.line(&format!("no ref of `{uri}` is `{reference}`")),
        }
    } else if is_object(reference) {
        // It may have been in the branch; most servers still have it.
        let mut args = vec!["fetch".to_owned(), "--quiet".to_owned(), "--no-tags".to_owned()];
        args.extend(params.depth.map(|depth| format!("--depth={depth}")));
        args.extend(["origin".to_owned(), reference.to_owned()]);
        _ = git.run(args);
    }
    local(git, reference)?.ok_or_else(|| {
        let place = match &source.branch {
            Some(branch) => format!("in the branch `{branch}` of `{uri}`"),
            None => format!("in `{uri}`"),
        };
        let reference = crate::error::printable(reference);
        ResourceError::failed(format!(
            "there is no `{reference}` {place}; it may have been removed by a forced push, so check for a newer version"
        ))
    })
}

/// What the name means: a commit, a tag or a branch, in this order.
fn local(git: &Git<'_>, reference: &str) -> Result<Option<String>, ResourceError> {
    let mut names = Vec::new();
    if is_valid(reference) {
        names.push(format!("refs/tags/{reference}"));
        names.push(format!("refs/remotes/origin/{reference}"));
        names.push(format!("refs/heads/{reference}"));
    }
    if is_object(reference) {
        names.insert(0, reference.to_owned());
    } else if reference.bytes().all(|byte| byte.is_ascii_hexdigit())
        || reference.starts_with("refs/")
    {
        names.push(reference.to_owned());
    }
    for name in names {
        if let Some(commit) = commits::resolve(git, &name)? {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

/// Fetches more of the history until it has `depth` commits up to the version: newer commits may have been pushed.
fn deepen(
    git: &Git<'_>,
    source: &Source,
    params: &Params,
    reference: &str,
    depth: u64,
) -> Result<(), ResourceError> {
    let (mut step, mut total) = (depth, depth);
    let is_shallow = || git.directory.join(".git/shallow").exists();
    while is_shallow() {
        if let Some(commit) = local(git, reference)?
            && commits::resolve(git, &format!("{commit}~{}", depth - 1))?.is_some()
        {
            return Ok(());
        }
        step = step.saturating_mul(2);
        let how =
            if total >= DEEPEST { "--unshallow".to_owned() } else { format!("--deepen={step}") };
        git.log.line(&format!("`{reference}` is not in the last {total} commits, fetching more"));
        let mut args = vec!["fetch", "--quiet", &how];
        args.extend(tags(source, params));
        args.push("origin");
        let fetched = git.show(args);
        fetched
            .map_err(|failure| failure.because(&format!("fetch more of `{}`", source.uri.plain)))?;
        if total >= DEEPEST {
            return Ok(());
        }
        total = total.saturating_add(step);
    }
    Ok(())
}
