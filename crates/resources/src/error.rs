//! Why an action failed.

use std::io;
use std::path::{Path, PathBuf};

use mask::SecretSet;

use crate::fields::Problem;
use crate::kinds;

/// Why an action of a resource type failed. The messages say what to do, and have no secret in them.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// No such type is built in.
    #[error("no resource type `{kind}` is built in{suggestion} (there are {known})")]
    UnknownType { kind: String, suggestion: String, known: String },
    /// The request is no JSON of the protocol.
    #[error("the request is not valid: {0}")]
    Request(String),
    /// The configuration has to change.
    #[error("{}", listed(.0))]
    Fields(Vec<Problem>),
    /// The action was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// `action` is what failed, such as "write".
    #[error("cannot {action} `{}`: {cause}", path.display())]
    Io { action: &'static str, path: PathBuf, cause: io::Error },
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl ResourceError {
    pub(crate) fn unknown_type(kind: &str) -> Self {
        let names = kinds::names();
        Self::UnknownType {
            kind: printable(kind),
            suggestion: spec::suggest::did_you_mean(kind, &names),
            known: spec::suggest::listed(&names).replace(" or ", " and "),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }

    /// The same without secrets.
    pub(crate) fn masked(self, secrets: &SecretSet) -> Self {
        let mask = |text: String| secrets.mask(&text).into_owned();
        match self {
            Self::Request(text) => Self::Request(mask(text)),
            Self::Failed(text) => Self::Failed(mask(text)),
            Self::Fields(problems) => Self::Fields(
                problems
                    .into_iter()
                    .map(|problem| Problem { message: mask(problem.message), ..problem })
                    .collect(),
            ),
            Self::Io { action, path, cause } => {
                Self::Io { action, path: mask(path.to_string_lossy().into_owned()).into(), cause }
            }
            other @ Self::UnknownType { .. } => other,
        }
    }
}

/// Text of others on one line.
pub fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}
