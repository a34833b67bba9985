//! Makes a version: pushes a commit.

use std::path::PathBuf;

use serde_json::Value;

use crate::destination::{self, below, inside};
use crate::error::{ResourceError, printable};
use crate::protocol::{Job, Metadata, Response, version};
use crate::values::Object;

use super::environment::Environment;
use super::merge::{self, Strategy};
use super::push::{self, Push};
use super::refs::{is_valid, valid_branch};
use super::runner::{Git, GitFailure};
use super::source::Source;
use super::{commits, metadata};

/// The strategies of git; another name would be another program.
const STRATEGIES: &[&str] = &["ort", "recursive", "resolve", "octopus", "ours", "subtree"];

/// What the params say.
pub struct Params {
    pub repository: String,
    pub strategy: Strategy,
    pub returns_unmerged: bool,
    pub tag: Option<String>,
    pub tag_prefix: String,
    pub annotate: Option<String>,
    pub notes: Option<String>,
    pub only_tag: bool,
    pub force: bool,
    /// Of the source, or of the params.
    pub branch: Option<String>,
    /// Whether the params name a branch.
    pub is_other_branch: bool,
    pub refs_prefix: String,
    pub push_options: Vec<String>,
}

impl Params {
    pub fn parse(params: &Object<'_>, source: &Source) -> Result<Self, ResourceError> {
        let only_tag = params.flag("only_tag")?;
        let other =
            params.text("branch")?.map(|branch| valid_branch("branch", branch)).transpose()?;
        let is_other_branch = other.is_some();
        let branch = other.or_else(|| source.branch.clone());
        if branch.is_none() && !only_tag {
            return Err(ResourceError::failed(
                "a `put` needs a branch: set `branch` in the source or in the params, or `only_tag`",
            ));
        }
        let refs_prefix = params.text("refs_prefix")?.unwrap_or_else(|| "refs/heads".to_owned());
        let refs_prefix = refs_prefix.trim_end_matches('/').to_owned();
        if !refs_prefix.starts_with("refs/") || !is_valid(&refs_prefix) {
            return Err(params.wrong("refs_prefix", "a prefix such as `refs/heads`"));
        }
        let returns_unmerged = match params.text("returning")?.as_deref() {
            None | Some("merged") => false,
            Some("unmerged") => true,
            Some(_) => return Err(params.wrong("returning", "`merged` or `unmerged`")),
        };
        let push_options = params.list("push_options")?;
        if push_options.iter().any(|option| option.contains(['\n', '\0'])) {
            return Err(params.wrong("push_options", "a list of lines"));
        }
        let tag_prefix = params.text("tag_prefix")?.unwrap_or_default();
        let tag = params.text("tag")?;
        for (name, needs) in [
            ("annotate", params.text("annotate")?.is_some()),
            ("tag_prefix", !tag_prefix.is_empty()),
        ] {
            if needs && tag.is_none() {
                return Err(ResourceError::failed(format!("`{name}` needs `tag`")));
            }
        }
        Ok(Self {
            repository: params.required("repository")?,
            strategy: strategy(params)?,
            returns_unmerged,
            tag,
            tag_prefix,
            annotate: params.text("annotate")?,
            notes: params.text("notes")?,
            only_tag,
            force: params.flag("force")?,
            branch,
            is_other_branch,
            refs_prefix,
            push_options,
        })
    }
}

fn strategy(params: &Object<'_>) -> Result<Strategy, ResourceError> {
    let name = params.text("rebase_strategy")?;
    if name.as_ref().is_some_and(|name| !STRATEGIES.contains(&name.as_str())) {
        return Err(params.wrong("rebase_strategy", &spec::suggest::listed(STRATEGIES)));
    }
    let options = match params.value("rebase_strategy_option") {
        Some(Value::Array(_)) => params.list("rebase_strategy_option")?,
        _ => {
            let text = params.text("rebase_strategy_option")?.unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        }
    };
    let is_option = |option: &String| !option.is_empty() && !option.chars().any(char::is_control);
    if !options.iter().all(is_option) {
        return Err(params.wrong("rebase_strategy_option", "a list of options"));
    }
    match (params.flag("rebase")?, params.flag("merge")?) {
        (true, true) => Err(ResourceError::failed(
            "`rebase` and `merge` cannot both be `true`, keep one of them",
        )),
        (true, false) => Ok(Strategy::Rebase { name, options }),
        (false, _) if name.is_some() || !options.is_empty() => Err(ResourceError::failed(
            "`rebase_strategy` and `rebase_strategy_option` need `rebase: true`",
        )),
        (false, true) => Ok(Strategy::Merge),
        (false, false) => Ok(Strategy::None),
    }
}

pub fn put(job: &Job<'_>, source: &Source) -> Result<Response, ResourceError> {
    let params = Params::parse(&job.params, source)?;
    let directory = job.directory()?;
    let named = below(directory, "repository", &params.repository)?;
    if !named.is_dir() {
        return Err(ResourceError::failed(format!(
            "`repository` is `{}`, and there is no such directory among the artifacts of the step",
            printable(&params.repository)
        )));
    }
    let repository = inside(directory, "repository", &params.repository)?;
    let text = |name: &str, path: &Option<String>| match path {
        Some(path) => destination::read(directory, name, path).map(Some),
        None => Ok(None),
    };
    let file = |name: &str, path: &Option<String>| -> Result<Option<PathBuf>, ResourceError> {
        text(name, path)?;
        path.as_ref().map(|path| inside(directory, name, path)).transpose()
    };
    let tag = text("tag", &params.tag)?.map(|name| tag_name(&params, &name)).transpose()?;
    let (annotation, notes) = (file("annotate", &params.annotate)?, file("notes", &params.notes)?);
    // Nothing above the artifacts is a repository of this step.
    let environment = with_identity(job, Environment::new(source, directory)?, directory)?;
    let git = Git::new(job.log, &repository, environment);
    git.run(["rev-parse", "--git-dir"]).map_err(|failure| {
        failure.because(&format!("use `{}`, the `repository`", printable(&params.repository)))
    })?;
    let head = commits::resolve(&git, "HEAD")?.ok_or_else(|| {
        ResourceError::failed(format!("`{}` has no commit to push", printable(&params.repository)))
    })?;
    let push = Push { git: &git, source, params: &params, tag, annotation, notes };
    let pushed = if params.only_tag { push.only_tags(&head)? } else { push::push(&push, &head)? };
    let result = if params.returns_unmerged && params.strategy == Strategy::Merge {
        head
    } else {
        pushed.clone()
    };
    let mut made = version("ref", result);
    if let Some(branch) = params.branch.as_ref().filter(|_| params.is_other_branch) {
        made.insert("branch".to_owned(), Value::String(branch.clone()));
    }
    let mut metadata = metadata::of(&git, &pushed, &source.uri)?;
    if let Some(branch) = params.branch.as_ref().filter(|_| !params.only_tag)
        && !metadata.iter().any(|field| field.name == "branch")
    {
        metadata.push(Metadata::new("branch", branch));
    }
    merge::forget(&git);
    Ok(Response::Made { version: made, metadata })
}

fn tag_name(params: &Params, name: &str) -> Result<String, ResourceError> {
    let name = format!("{}{}", params.tag_prefix, name.trim());
    if is_valid(&name) {
        return Ok(name);
    }
    Err(ResourceError::failed(format!(
        "the file of `tag` gives `{}`, which is no name of a tag",
        printable(&name)
    )))
}

/// Who makes tags and merges: the user, or nobody in particular where git does not know who that is.
fn with_identity(
    job: &Job<'_>,
    environment: Environment,
    directory: &std::path::Path,
) -> Result<Environment, ResourceError> {
    let git = Git::new(job.log, directory, environment);
    let knows = |variable: &str, name: &str| {
        std::env::var_os(variable).is_some() || git.run(["config", "--get", name]).is_ok()
    };
    let mut environment = git.environment.clone();
    for (variables, name, value) in [
        (["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"], "user.name", "git"),
        (["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"], "user.email", "git@localhost"),
    ] {
        for variable in variables {
            if !knows(variable, name) {
                environment = environment.with(variable, value);
            }
        }
    }
    Ok(environment)
}

/// Adds the tag to a commit.
pub fn add_tag(push: &Push<'_, '_>, commit: &str) -> Result<(), ResourceError> {
    let Some(tag) = &push.tag else { return Ok(()) };
    let mut args: Vec<std::ffi::OsString> = ["tag", "--force"].map(Into::into).to_vec();
    if let Some(message) = &push.annotation {
        args.extend(["--annotate".into(), "--file".into(), message.into()]);
    }
    args.extend(["--".into(), tag.into(), commit.into()]);
    push.git
        .run(args)
        .map(drop)
        .map_err(|failure: GitFailure| failure.because(&format!("make the tag `{tag}`")))
}
