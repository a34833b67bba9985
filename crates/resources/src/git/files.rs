//! The files that a `get` leaves in `.git`.

use crate::destination::write;
use crate::error::ResourceError;
use crate::protocol::Metadata;

use super::get::Params;
use super::metadata::field;
use super::printf;
use super::runner::Git;

pub fn leave(
    git: &Git<'_>,
    params: &Params,
    reference: &str,
    commit: &str,
    metadata: &[Metadata],
) -> Result<(), ResourceError> {
    let folder = git.directory.join(".git");
    let value =
        |name: &str| metadata.iter().find(|field| field.name == name).map(|field| &field.value);
    // What is not known leaves an empty file.
    let line = |name: &str| value(name).map(|value| format!("{value}\n")).unwrap_or_default();
    let json = serde_json::to_string_pretty(metadata)
        .map_err(|error| ResourceError::failed(format!("cannot write the metadata: {error}")))?;
    let short: String = reference.chars().take(7).collect();
    let files = [
        ("committer", field(git, commit, "%ae")?),
        ("committer_name", field(git, commit, "%an")?),
        ("ref", format!("{reference}\n")),
        ("metadata.json", format!("{json}\n")),
        ("short_ref", printf::format(&params.short_ref_format, &short)?),
        ("commit", line("commit")),
        ("author", line("author")),
        ("author_date", line("author_date")),
        ("branch", line("branch")),
        ("tags", line("tags")),
        ("url", line("url")),
        ("committer_date", line("committer_date")),
        ("commit_message", message(git, commit)?),
        ("commit_timestamp", timestamp(git, params, commit)?),
        ("describe_ref", description(git, params)),
    ];
    files.into_iter().try_for_each(|(name, content)| write(&folder.join(name), content))
}

fn message(git: &Git<'_>, commit: &str) -> Result<String, ResourceError> {
    let output = git.run(["log", "-1", "--format=format:%B", commit, "--"]);
    let output = output.map_err(|failure| failure.because("read the message of the commit"))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn timestamp(git: &Git<'_>, params: &Params, commit: &str) -> Result<String, ResourceError> {
    let date = format!("--date={}", params.timestamp_format);
    let output = git.line(["log", "-1", "--format=%cd", &date, commit, "--"]);
    let output =
        output.map_err(|failure| failure.because("write the time by `timestamp_format`"))?;
    Ok(format!("{output}\n"))
}

/// A commit that no tag describes has an empty line, as the options may ask for that.
fn description(git: &Git<'_>, params: &Params) -> String {
    let options = params.describe_ref_options.split_whitespace();
    let described = git.line(["describe"].into_iter().chain(options));
    let text = described.unwrap_or_else(|failure| {
        git.log.line(&failure.because("describe the commit by `describe_ref_options`").to_string());
        String::new()
    });
    format!("{text}\n")
}
