//! What people may want to know about a commit.

use crate::error::ResourceError;
use crate::protocol::Metadata;

use super::runner::{Git, GitFailure};
use super::uri::Uri;

/// How much of a message is kept, in bytes.
const MESSAGE: usize = 10_240;

fn failed(failure: GitFailure) -> ResourceError {
    failure.because("read the commit")
}

/// A field of a commit, by a placeholder of `git log`.
pub fn field(git: &Git<'_>, commit: &str, placeholder: &str) -> Result<String, ResourceError> {
    let format = format!("--format=format:{placeholder}");
    git.line(["log", "-1", "--no-show-signature", &format, commit, "--"]).map_err(failed)
}

pub fn of(git: &Git<'_>, commit: &str, uri: &Uri) -> Result<Vec<Metadata>, ResourceError> {
    let time =
        |name: &str, value: String| Metadata { kind: Some("time"), ..Metadata::new(name, value) };
    let mut all = vec![
        Metadata::new("commit", commit),
        Metadata::new("author", field(git, commit, "%an")?),
        time("author_date", field(git, commit, "%ai")?),
        Metadata::new("committer", field(git, commit, "%cn")?),
        time("committer_date", field(git, commit, "%ci")?),
    ];
    for (name, refs) in [("branch", "refs/heads"), ("tags", "refs/tags")] {
        let args = ["for-each-ref", "--points-at", commit, "--format=%(refname:strip=2)", refs];
        let names = git.lines(args).map_err(failed)?.join(",");
        if !names.is_empty() {
            all.push(Metadata::new(name, names));
        }
    }
    let mut message = field(git, commit, "%B")?;
    let end = (0..=MESSAGE.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message.truncate(end.unwrap_or(0));
    all.push(Metadata { kind: Some("message"), ..Metadata::new("message", message) });
    all.extend(url(&uri.plain, commit).map(|url| Metadata::new("url", url)));
    Ok(all)
}

/// Where hosts that are known show a commit.
fn url(origin: &str, commit: &str) -> Option<String> {
    let (host, path) = match origin.split_once("://") {
        Some(("http" | "https", rest)) => rest.split_once('/')?,
        Some(("ssh", rest)) => rest.strip_prefix("git@")?.split_once('/')?,
        Some(_) => return None,
        None => origin.strip_prefix("git@")?.split_once(':')?,
    };
    let path = path.strip_suffix(".git").unwrap_or(path);
    let has = |name: &str| host.contains(name);
    let commit = if has("github") || has("gogs") {
        format!("commit/{commit}")
    } else if has("gitlab") {
        format!("-/commit/{commit}")
    } else if has("bitbucket") {
        format!("commits/{commit}")
    } else {
        return None;
    };
    Some(format!("https://{host}/{path}/{commit}"))
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn hosts_show_commits_at_their_own_places() {
        for (origin, expected) in [
            ("https://github.com/a/b.git", Some("https://github.com/a/b/commit/1")),
            ("git@github.com:a/b.git", Some("https://github.com/a/b/commit/1")),
            ("ssh://git@gitlab.com/a/b/c", Some("https://gitlab.com/a/b/c/-/commit/1")),
            ("git@bitbucket.org:a/b", Some("https://bitbucket.org/a/b/commits/1")),
            ("https://example.com/a/b", None),
            ("/a/github/b", None),
        ] {
            assert_eq!(url(origin, "1").as_deref(), expected, "{origin}");
        }
    }
}
