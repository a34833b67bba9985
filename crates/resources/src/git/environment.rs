//! What git finds in its environment.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use crate::error::ResourceError;
use crate::program;

use super::config::Variable;
use super::credentials::Credentials;
use super::source::{PrivateKey, Source};
use super::ssh::{self, SshFiles};

/// What names a repository, and would turn git away from the one that is meant (git-rev-parse(1),
/// `--local-env-vars`).
const OF_A_REPOSITORY: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
    // Change what is printed, or ask somebody.
    "GIT_ICASE_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NOTES_REF",
    "GIT_EXTERNAL_DIFF",
    "SSH_ASKPASS",
];

/// What the user's configuration could change in what is printed, or in what is left running.
const FIXED: &[(&str, &str)] = &[
    ("advice.detachedHead", "false"),
    ("color.ui", "false"),
    ("column.ui", "never"),
    ("commit.gpgSign", "false"),
    ("core.fsmonitor", "false"),
    ("core.notesRef", "refs/notes/commits"),
    ("core.pager", "cat"),
    ("fetch.prune", "false"),
    ("fetch.pruneTags", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("grep.patternType", "basic"),
    ("log.showSignature", "false"),
    ("maintenance.auto", "false"),
    ("push.gpgSign", "false"),
    ("rebase.autoSquash", "false"),
    ("rebase.autoStash", "false"),
    ("rebase.updateRefs", "false"),
    ("submodule.recurse", "false"),
    ("tag.gpgSign", "false"),
];

/// For all git programs of one action.
#[derive(Clone)]
pub struct Environment {
    config: Vec<Variable>,
    variables: Vec<(OsString, OsString)>,
    /// What the variables name.
    files: Vec<Rc<SshFiles>>,
    _credentials: Rc<Credentials>,
}

impl Environment {
    /// `ceiling` is a directory above which no repository is looked for.
    pub fn new(source: &Source, ceiling: &Path) -> Result<Self, ResourceError> {
        let credentials = Credentials::of(source)?;
        let mut config: Vec<Variable> =
            FIXED.iter().map(|(name, value)| Variable::new(*name, *value)).collect();
        if program::find("git-lfs").is_some() {
            config.extend(super::lfs::config());
        }
        config.extend(credentials.variables.iter().cloned());
        config.extend(source.git_config.iter().cloned());
        let ceiling = std::fs::canonicalize(ceiling).unwrap_or_else(|_| ceiling.to_owned());
        let mut new = Self {
            config,
            variables: vec![("GIT_CEILING_DIRECTORIES".into(), ceiling.into())],
            files: Vec::new(),
            _credentials: Rc::new(credentials),
        };
        let set = |name: &str| std::env::var_os(name).is_some();
        for (name, value) in [
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_PAGER", "cat"),
            ("GIT_EDITOR", "true"),
            ("GIT_SEQUENCE_EDITOR", "true"),
            ("GIT_MERGE_AUTOEDIT", "no"),
            ("LC_ALL", "C"),
        ] {
            new.set(name, value);
        }
        for (name, value) in [
            // Otherwise a window may ask, which nobody sees.
            ("GIT_ASKPASS", ""),
            // A transfer that stands still ends.
            ("GIT_HTTP_LOW_SPEED_LIMIT", "1"),
            ("GIT_HTTP_LOW_SPEED_TIME", "120"),
        ] {
            if !set(name) {
                new.set(name, value);
            }
        }
        if source.skip_ssl_verification {
            new.set("GIT_SSL_NO_VERIFY", "true");
        }
        let has_own = source
            .git_config
            .iter()
            .any(|variable| variable.name.eq_ignore_ascii_case("core.sshCommand"));
        if !source.ssh.is_default() {
            new.use_ssh(source.ssh.files()?);
        } else if !has_own && !set("GIT_SSH_COMMAND") && !set("GIT_SSH") && !user_has_ssh_command()
        {
            new.set("GIT_SSH_COMMAND", ssh::PLAIN_COMMAND);
        }
        Ok(new)
    }

    /// The same with another key for ssh.
    pub fn with_key(&self, source: &Source, key: &PrivateKey) -> Result<Self, ResourceError> {
        let mut new = self.clone();
        let mut ssh = source.ssh.clone();
        ssh.key = Some(key.clone());
        new.use_ssh(ssh.files()?);
        Ok(new)
    }

    /// The same with one more variable of the configuration.
    pub fn with_config(&self, variable: Variable) -> Self {
        let mut new = self.clone();
        new.config.push(variable);
        new
    }

    pub fn with(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut new = self.clone();
        new.set(name, value);
        new
    }

    fn use_ssh(&mut self, files: SshFiles) {
        self.set("GIT_SSH_COMMAND", ssh::COMMAND);
        self.set("GIT_SSH_VARIANT", "ssh");
        for (name, value) in &files.variables {
            self.set(name, value);
        }
        self.files.push(Rc::new(files));
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.retain(|(known, _)| known != OsStr::new(name));
        self.variables.push((name.into(), value.into()));
    }

    pub fn apply(&self, command: &mut Command) {
        OF_A_REPOSITORY.iter().for_each(|name| _ = command.env_remove(name));
        // What the caller has set that way stays.
        let count = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok());
        let first: usize = count.unwrap_or(0);
        for (index, Variable { name, value }) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{}", first + index), name);
            command.env(format!("GIT_CONFIG_VALUE_{}", first + index), value);
        }
        command.env("GIT_CONFIG_COUNT", (first + self.config.len()).to_string());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }
}

fn user_has_ssh_command() -> bool {
    let output = Command::new("git").args(["config", "--get", "core.sshCommand"]).output();
    output.is_ok_and(|output| output.status.success())
}
