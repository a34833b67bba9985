//! Starts git.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ResourceError;
use crate::log::Log;
use crate::program::{self, Messages, Outcome};

use super::environment::Environment;
use super::reason;

/// git, in one directory.
pub struct Git<'a> {
    pub log: &'a Log<'a>,
    pub directory: PathBuf,
    pub environment: Environment,
}

/// git did not do what it was told.
#[derive(Debug)]
pub struct GitFailure {
    pub stdout: Vec<u8>,
    /// Without secrets.
    pub stderr: String,
    /// It could not even be started or read.
    error: Option<ResourceError>,
}

impl GitFailure {
    /// `what` is what failed, such as "fetch `main`".
    pub fn because(self, what: &str) -> ResourceError {
        self.error.unwrap_or_else(|| ResourceError::failed(reason::explained(what, &self.stderr)))
    }

    /// Of a command that is not expected to fail.
    pub fn of(what: &'static str) -> impl FnOnce(Self) -> ResourceError {
        move |failure| failure.because(what)
    }

    pub fn says(&self, text: &str) -> bool {
        self.stderr.contains(text)
    }
}

impl<'a> Git<'a> {
    pub fn new(log: &'a Log<'a>, directory: &Path, environment: Environment) -> Self {
        Self { log, directory: directory.to_owned(), environment }
    }

    pub fn at(&self, directory: &Path) -> Self {
        Self::new(self.log, &self.directory.join(directory), self.environment.clone())
    }

    pub fn with(&self, environment: Environment) -> Self {
        Self::new(self.log, &self.directory, environment)
    }

    /// Its output, with its messages in the log.
    pub fn show<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, GitFailure> {
        self.start(args, None, Messages::Shown)
    }

    /// Its output, with its messages in nothing but an error.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, GitFailure> {
        self.start(args, None, Messages::Kept)
    }

    pub fn feed<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: Vec<u8>,
    ) -> Result<Vec<u8>, GitFailure> {
        self.start(args, Some(input), Messages::Kept)
    }

    /// Its output as text without the line break at its end.
    pub fn line<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, GitFailure> {
        let output = self.run(args)?;
        Ok(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
    }

    /// Its output as lines.
    pub fn lines<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<String>, GitFailure> {
        Ok(lines(&self.run(args)?))
    }

    fn start<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: Option<Vec<u8>>,
        messages: Messages,
    ) -> Result<Vec<u8>, GitFailure> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.directory);
        self.environment.apply(&mut command);
        match program::run(command, input, messages, self.log) {
            Ok(Outcome { status, stdout, .. }) if status.success() => Ok(stdout),
            Ok(Outcome { status, stdout, mut stderr }) => {
                if stderr.trim().is_empty() {
                    stderr = format!("git ended with {status}");
                }
                Err(GitFailure { stdout, stderr, error: None })
            }
            Err(error) => {
                Err(GitFailure { stdout: Vec::new(), stderr: String::new(), error: Some(error) })
            }
        }
    }
}

pub fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().map(str::to_owned).collect()
}
