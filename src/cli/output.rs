use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;

use crate::report::Output;
use crate::suggest::did_you_mean;

/// One value of `--output`: a format, or where an artifact goes.
#[derive(Clone, Debug)]
pub enum OutputArg {
    Format(Output),
    Artifact(String, PathBuf),
}

impl OutputArg {
    pub fn format(&self) -> Option<Output> {
        match self {
            Self::Format(format) => Some(*format),
            Self::Artifact(..) => None,
        }
    }

    pub fn artifact(&self) -> Option<(&str, &Path)> {
        match self {
            Self::Format(_) => None,
            Self::Artifact(name, directory) => Some((name, directory)),
        }
    }
}

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, directory)) if !name.is_empty() && !directory.is_empty() => {
                Ok(Self::Artifact(name.to_owned(), directory.into()))
            }
            Some(_) => Err("expected a name and a directory, as in `dist=./out`".to_owned()),
            None => Output::from_str(text, false).map(Self::Format).map_err(|_| {
                let hint = did_you_mean(text, &["auto", "tty", "plain", "json"]);
                format!("expected `auto`, `tty`, `plain` or `json`, or `NAME=DIR`{hint}")
            }),
        }
    }
}
