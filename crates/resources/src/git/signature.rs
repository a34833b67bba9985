//! Whether a commit is signed by one of the given keys.

use std::process::Command;

use crate::error::ResourceError;
use crate::program::{self, Messages};

use super::config::Variable;
use super::runner::Git;
use super::source::Source;

/// Fails unless one of the source's keys has signed the commit. Without such keys nothing is looked at.
pub fn verify(git: &Git<'_>, source: &Source, commit: &str) -> Result<(), ResourceError> {
    let wanted = &source.verification;
    if wanted.keys.is_empty() && wanted.ids.is_empty() {
        return Ok(());
    }
    // A keyring with nothing else in it: the user's own keys prove nothing here.
    let folder = git.directory.join(".git");
    let home = tempfile::Builder::new()
        .prefix("ci-gnupg-")
        .tempdir_in(&folder)
        .map_err(ResourceError::io("make a temporary directory in", &folder))?;
    let gpg = |args: &[&str], input: Option<Vec<u8>>, what: &str| {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", home.path()).env("LC_ALL", "C").args(["--batch", "--quiet"]);
        // A key server is asked by a program that gpg starts.
        if !args.contains(&"--recv-keys") {
            command.arg("--no-autostart");
        }
        command.args(args);
        let outcome = program::run(command, input, Messages::Kept, git.log)?;
        match outcome.status.success() {
            true => Ok(()),
            false => Err(ResourceError::failed(super::reason::explained(what, &outcome.stderr))),
        }
    };
    for key in &wanted.keys {
        gpg(
            &["--import"],
            Some(key.clone().into_bytes()),
            "read a key of `commit_verification_keys`",
        )?;
    }
    for id in &wanted.ids {
        let what = format!("fetch the key `{id}` from `{}`", wanted.keyserver);
        gpg(&["--keyserver", &wanted.keyserver, "--recv-keys", id], None, &what)?;
    }
    let environment = git
        .environment
        .with("GNUPGHOME", home.path())
        // Signatures by ssh and X.509 are not by any of these keys.
        .with_config(Variable::new("gpg.ssh.allowedSignersFile", "/dev/null"))
        .with_config(Variable::new("gpg.x509.program", "false"))
        .with_config(Variable::new("gpg.program", "gpg"))
        .with_config(Variable::new("gpg.openpgp.program", "gpg"))
        .with_config(Variable::new("gpg.minTrustLevel", "undefined"));
    let verified = git.with(environment).run(["verify-commit", "--raw", commit]);
    if !wanted.ids.is_empty() {
        let mut command = Command::new("gpgconf");
        command.env("GNUPGHOME", home.path()).args(["--kill", "all"]);
        _ = program::run(command, None, Messages::Kept, git.log);
    }
    match verified {
        Ok(_) => Ok(()),
        Err(failure) => Err(ResourceError::failed(format!(
            "the commit `{commit}` is {}",
            if failure.says("BADSIG") {
                "signed, but the signature is wrong"
            } else if failure.says("NO_PUBKEY") {
                "signed by none of the keys of `commit_verification_keys` and `commit_verification_key_ids`"
            } else {
                "not signed by one of the keys of `commit_verification_keys` and `commit_verification_key_ids`"
            }
        ))),
    }
}
