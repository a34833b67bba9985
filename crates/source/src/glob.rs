//! Globs of a selection, in the syntax of `.gitignore`.

use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::error::SourceError;

/// A list of globs. A later one that starts with `!` takes back what earlier ones matched.
#[derive(Debug)]
pub struct Globs(Option<Gitignore>);

impl Globs {
    pub fn new(globs: &[String]) -> Result<Self, SourceError> {
        if globs.is_empty() {
            return Ok(Self(None));
        }
        let mut builder = GitignoreBuilder::new("");
        // Git takes it for a letter; whoever writes a glob has mistyped it.
        builder.allow_unclosed_class(false);
        for glob in globs {
            let invalid = |reason: String| SourceError::Glob { glob: glob.clone(), reason };
            if glob.trim().is_empty() {
                return Err(invalid("it is empty".to_owned()));
            }
            // In a list of globs nothing is a comment.
            let escaped = glob.starts_with('#').then(|| format!("\\{glob}"));
            let line = escaped.as_deref().unwrap_or(glob);
            builder.add_line(None, line).map_err(|error| invalid(reason(&error)))?;
        }
        let built = builder.build();
        let built = built.map_err(|error| SourceError::Glob {
            glob: globs.join("`, `"),
            reason: reason(&error),
        })?;
        Ok(Self(Some(built)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the entry at `path` is matched, itself or because `parent`, its directory, is.
    pub fn matches(&self, path: &Path, is_directory: bool, parent: bool) -> bool {
        let Some(globs) = &self.0 else { return parent };
        match globs.matched(path, is_directory) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => parent,
        }
    }
}

/// What is wrong with a glob, without the glob.
fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        ignore::Error::WithPath { err, .. }
        | ignore::Error::WithDepth { err, .. }
        | ignore::Error::WithLineNumber { err, .. } => reason(err),
        other => other.to_string(),
    }
}
