//! Why git failed, on one line and with what to do.

use crate::error::printable;

/// How many lines of git's messages are taken.
const LINES: usize = 8;

/// What git says after each failure of a transport, which tells nothing.
const EMPTY_PHRASES: &[&str] = &[
    "Please make sure you have the correct access rights",
    "and the repository exists.",
    "Cloning into",
    "hint:",
    "To ",
    "Done",
];

/// What to do about it.
const HELP: &[(&str, &str)] = &[
    ("could not read Username", "set `username` and `password` in the source"),
    ("could not read Password", "set `password` in the source"),
    ("Authentication failed", "look at `username` and `password` in the source"),
    ("incorrect passphrase", "look at `private_key_passphrase`"),
    (
        "Permission denied (",
        "set `private_key`, or load a key that the host knows into the ssh agent",
    ),
    ("Host key verification failed", "add the host to `~/.ssh/known_hosts` if you trust it"),
    (
        "SSL certificate problem",
        "name the authority in `git_config` by `http.sslCAInfo`, or set `skip_ssl_verification`",
    ),
    ("' not allowed", "git allows a transport by `protocol.NAME.allow` in its configuration"),
    (
        "dubious ownership",
        "the directory belongs to another user: add it to `safe.directory` in git's configuration",
    ),
    ("index.lock", "another git program works in the repository, or was killed in it"),
    ("No space left on device", "free some space on the disk"),
];

/// "cannot `what`: the reason; help".
pub fn explained(what: &str, stderr: &str) -> String {
    let tells = |line: &&str| {
        !line.is_empty() && !EMPTY_PHRASES.iter().any(|phrase| line.starts_with(phrase))
    };
    let lines: Vec<&str> =
        stderr.split(['\n', '\r']).map(str::trim).filter(tells).map(without_label).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    let mut text = format!("cannot {what}: {}", printable(&last.join("; ")));
    if let Some((_, help)) = HELP.iter().find(|(phrase, _)| stderr.contains(phrase)) {
        text.push_str(&format!(" ({help})"));
    }
    text
}

fn without_label(line: &str) -> &str {
    ["fatal: ", "error: "].iter().find_map(|label| line.strip_prefix(label)).unwrap_or(line)
}
