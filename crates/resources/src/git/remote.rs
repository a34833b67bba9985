//! What a repository has, asked without fetching anything.

use crate::error::ResourceError;

use super::refs::is_object;
use super::runner::Git;
use super::source::Source;

/// A ref of the repository, and the object that it names.
pub struct RemoteRef {
    pub object: String,
    pub name: String,
}

/// The refs that match patterns of `git ls-remote`.
pub fn list(
    git: &Git<'_>,
    source: &Source,
    patterns: &[&str],
) -> Result<Vec<RemoteRef>, ResourceError> {
    let mut args = vec!["ls-remote", "--quiet", "--", &source.uri.plain];
    args.extend(patterns);
    let what = format!("read the refs of `{}`", source.uri.plain);
    let lines = git.lines(args).map_err(|failure| failure.because(&what))?;
    let parsed = |line: &String| {
        let (object, name) = line.split_once('\t')?;
        is_object(object).then(|| RemoteRef { object: object.to_owned(), name: name.to_owned() })
    };
    Ok(lines.iter().filter_map(parsed).collect())
}

/// A branch, a tag that is named as one, or the default branch.
pub struct Tip {
    pub object: String,
    /// `HEAD` or a whole name such as `refs/heads/main`.
    pub name: String,
}

/// Where the branch is now.
pub fn tip(git: &Git<'_>, source: &Source, branch: Option<&str>) -> Result<Tip, ResourceError> {
    let names = match branch {
        None => vec!["HEAD".to_owned()],
        Some(branch) => vec![format!("refs/heads/{branch}"), format!("refs/tags/{branch}")],
    };
    let patterns: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = list(git, source, &patterns)?;
    for name in &names {
        // Patterns also match the ends of other names.
        if let Some(RemoteRef { object, name }) = found.iter().find(|found| found.name == *name) {
            return Ok(Tip { object: object.clone(), name: name.clone() });
        }
    }
    Err(missing(git, source, branch))
}

/// Why there is no such branch.
pub fn missing(git: &Git<'_>, source: &Source, branch: Option<&str>) -> ResourceError {
    let uri = &source.uri.plain;
    let all = match list(git, source, &["refs/heads/*"]) {
        Ok(all) => all,
        Err(error) => return error,
    };
    let names: Vec<&str> =
        all.iter().filter_map(|found| found.name.strip_prefix("refs/heads/")).collect();
    ResourceError::failed(match branch {
        _ if names.is_empty() => format!("`{uri}` has no commits yet, push one first"),
        None => format!("`{uri}` has no default branch, set `branch` in the source"),
        Some(branch) => {
            let suggestion = spec::suggest::did_you_mean(branch, &names);
            format!("`{uri}` has no branch `{branch}`{suggestion}")
        }
    })
}
