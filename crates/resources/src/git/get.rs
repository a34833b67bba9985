//! Fetches a version.

use serde_json::{Map, Value};

use crate::destination;
use crate::error::ResourceError;
use crate::memory::MemoryFile;
use crate::program;
use crate::protocol::{Job, Response};
use crate::values::Object;

use super::clone;
use super::environment::Environment;
use super::refs::valid_branch;
use super::runner::{Git, GitFailure};
use super::source::Source;
use super::{files, metadata, printf, signature, submodules};

/// What the params say.
pub struct Params {
    /// `None`: the whole history.
    pub depth: Option<u64>,
    pub fetch: Vec<String>,
    pub fetch_tags: Option<bool>,
    pub submodules: Submodules,
    pub submodule_recursive: bool,
    pub submodule_remote: bool,
    pub disable_git_lfs: bool,
    pub clean_tags: bool,
    pub short_ref_format: String,
    pub timestamp_format: String,
    pub describe_ref_options: String,
    pub all_branches: bool,
}

#[derive(PartialEq)]
pub enum Submodules {
    All,
    None,
    Paths(Vec<String>),
}

impl Params {
    pub fn parse(params: &Object<'_>) -> Result<Self, ResourceError> {
        // git takes the largest number for "all", and no larger one.
        let depth = params.number("depth")?.filter(|depth| (1..i32::MAX as u64).contains(depth));
        let branches = params.list("fetch")?;
        let fetch: Result<_, _> =
            branches.into_iter().map(|branch| valid_branch("fetch", branch)).collect();
        let short_ref_format = params.text("short_ref_format")?.unwrap_or_else(|| "%s".to_owned());
        printf::format(&short_ref_format, "")?;
        let options = params.text("describe_ref_options")?;
        let options = options.unwrap_or_else(|| "--always --dirty --broken".to_owned());
        if options.split_whitespace().any(|option| option == "--stdin" || option == "--") {
            return Err(params.wrong("describe_ref_options", "a list of options of `git describe`"));
        }
        Ok(Self {
            depth,
            fetch: fetch?,
            fetch_tags: params.optional_flag("fetch_tags")?,
            submodules: submodules_of(params)?,
            submodule_recursive: params.optional_flag("submodule_recursive")?.unwrap_or(true),
            submodule_remote: params.flag("submodule_remote")?,
            disable_git_lfs: params.flag("disable_git_lfs")?,
            clean_tags: params.flag("clean_tags")?,
            short_ref_format,
            timestamp_format: params
                .text("timestamp_format")?
                .unwrap_or_else(|| "iso8601".to_owned()),
            describe_ref_options: options,
            all_branches: params.flag("all_branches")?,
        })
    }
}

fn submodules_of(params: &Object<'_>) -> Result<Submodules, ResourceError> {
    match params.value("submodules") {
        None => Ok(Submodules::All),
        Some(Value::String(text)) if text == "all" => Ok(Submodules::All),
        Some(Value::String(text)) if text == "none" => Ok(Submodules::None),
        Some(Value::Array(_)) => Ok(Submodules::Paths(params.list("submodules")?)),
        Some(_) => Err(params.wrong("submodules", "`all`, `none` or a list of paths")),
    }
}

pub fn get(job: &Job<'_>, source: &Source) -> Result<Response, ResourceError> {
    let params = Params::parse(&job.params)?;
    let directory = job.directory()?;
    let version = job.version.unwrap_or(job.params);
    let given = |name: &str| job.version.map_or(Ok(None), |version| version.text(name));
    let reference = given("ref")?.filter(|reference| reference != "HEAD");
    if let Some(reference) = &reference
        && (reference.starts_with('-') || reference.contains(['\n', '\0']))
    {
        return Err(version.wrong("ref", "a commit or a tag"));
    }
    let branch = match given("branch")? {
        Some(branch) => Some(valid_branch("version.branch", branch)?),
        None => source.branch.clone(),
    };
    destination::prepare(directory)?;
    let environment = Environment::new(source, directory.parent().unwrap_or(directory))?;
    let mut git = Git::new(job.log, directory, environment);
    if params.disable_git_lfs {
        git = git.with(git.environment.with("GIT_LFS_SKIP_SMUDGE", "1"));
    }
    clone::clone(&git, source, &params, branch.as_deref())?;
    // A tag may have moved since the check; the version is the commit.
    let wanted = given("commit")?.or_else(|| reference.clone());
    let commit = clone::check_out(&git, source, &params, wanted.as_deref(), branch.as_deref())?;
    signature::verify(&git, source, &commit)?;
    unlock(&git, source)?;
    submodules::update(&git, source, &params)?;
    fetch_branches(&git, &params)?;

    let reference = reference.unwrap_or_else(|| commit.clone());
    let metadata = metadata::of(&git, &commit, &source.uri)?;
    files::leave(&git, &params, &reference, &commit, &metadata)?;
    if params.clean_tags {
        clean_tags(&git)?;
    }
    let mut fetched = job.request.version.as_object().cloned().unwrap_or_else(Map::new);
    fetched.insert("ref".to_owned(), Value::String(reference));
    Ok(Response::Made { version: fetched, metadata })
}

fn fetch_branches(git: &Git<'_>, params: &Params) -> Result<(), ResourceError> {
    for branch in &params.fetch {
        let what = format!("fetch the branch `{branch}`");
        let full = format!("refs/heads/{branch}");
        let args = ["fetch", "--quiet", "origin", &full];
        git.show(args).map_err(|failure| failure.because(&what))?;
        if git.run(["show-ref", "--verify", "--quiet", &full]).is_err() {
            let args = ["branch", "--quiet", "--no-track", "--", branch, "FETCH_HEAD"];
            git.run(args).map_err(|failure| failure.because(&what))?;
        }
    }
    Ok(())
}

fn clean_tags(git: &Git<'_>) -> Result<(), ResourceError> {
    let failed = GitFailure::of("delete the tags");
    let tags = match git.lines(["for-each-ref", "--format=delete %(refname)", "refs/tags"]) {
        Ok(tags) => tags,
        Err(failure) => return Err(failed(failure)),
    };
    if tags.is_empty() {
        return Ok(());
    }
    git.feed(["update-ref", "--stdin"], (tags.join("\n") + "\n").into_bytes())
        .map(drop)
        .map_err(failed)
}

fn unlock(git: &Git<'_>, source: &Source) -> Result<(), ResourceError> {
    let Some(key) = &source.git_crypt_key else { return Ok(()) };
    let digits: String = key.split_whitespace().collect();
    let key = base64(&digits).ok_or_else(|| {
        ResourceError::failed(
            "`git_crypt_key` is no base64, make it by `git-crypt export-key -- - | base64`",
        )
    })?;
    if program::find("git-crypt").is_none() {
        return Err(ResourceError::failed(
            "`git_crypt_key` needs the program `git-crypt`, which is not installed: install it",
        ));
    }
    let file = MemoryFile::new(&key)?;
    git.show(["crypt", "unlock", file.path()])
        .map(drop)
        .map_err(GitFailure::of("unlock the files by `git_crypt_key`"))
}

/// RFC 4648, with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.decode(text).ok()
}
