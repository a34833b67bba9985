//! Where the value of a secret comes from: `NAME`, `NAME=env:VARIABLE` or `NAME=file:PATH`.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use mask::SecretValue;

use super::{LARGEST, SecretError, is_name, read_file};

#[derive(Debug, PartialEq)]
pub enum Source {
    Variable(String),
    File(PathBuf),
}

/// Why a secret has no value.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SourceError {
    #[error("the variable `{}` is not set", shown(.0))]
    NotSet(String),
    #[error("{0} is empty")]
    Empty(String),
    #[error("{0} has more than 1 MiB")]
    TooLarge(String),
    #[error("cannot read `{}`: {reason}", path.display())]
    File { path: PathBuf, reason: String },
}

/// A name that may be a value in the place of one, such as a token, is shown by its beginning alone.
pub fn shown(name: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    match name.len() < 20 || name.bytes().all(is_usual) {
        true => name.to_owned(),
        false => format!("{}…", &name[..name.floor_char_boundary(3)]),
    }
}

impl SourceError {
    pub fn help(&self, name: &str) -> String {
        match self {
            Self::NotSet(variable) => format!(
                "set it before `ci` starts, or name another source: `--secret {name}=env:VARIABLE` or \
                 `--secret {name}=file:PATH` in place of `{variable}`",
                name = shown(name),
                variable = shown(variable),
            ),
            Self::Empty(_) => {
                "a CI service hands over an empty variable for a secret that it does not have"
                    .to_owned()
            }
            Self::TooLarge(_) | Self::File { .. } => {
                "a secret is a file of at most 1 MiB or a variable".to_owned()
            }
        }
    }
}

impl Source {
    /// The name, and where its value is.
    pub fn parse(text: &str) -> Result<(&str, Self), SecretError> {
        let (name, source) = match text.split_once('=') {
            Some((name, source)) => (name, Some(source)),
            None => (text, None),
        };
        // What is given may be a value, such as one in base64 that ends with `=`.
        if !is_name(name) || source.is_some_and(|source| source.chars().all(|c| c == '=')) {
            return Err(SecretError::Name);
        }
        let Some(source) = source else { return Ok((name, Self::Variable(name.to_owned()))) };
        if let Some(variable) = source.strip_prefix("env:").filter(|variable| !variable.is_empty())
        {
            return Ok((name, Self::Variable(variable.to_owned())));
        }
        match source.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok((name, Self::File(path.into()))),
            _ => Err(SecretError::OnCommandLine(name.to_owned())),
        }
    }

    /// The name of the variable that holds the value, in which any text of the command line may be asked for.
    pub fn variable(text: &str) -> Option<String> {
        match Self::parse(text) {
            Ok((_, Self::Variable(name))) => Some(name),
            _ => None,
        }
    }

    pub fn read(self) -> Result<SecretValue, SourceError> {
        let (bytes, what) = match self {
            Self::Variable(name) => match std::env::var_os(&name) {
                Some(value) => (value.into_vec(), format!("the variable `{name}`")),
                None => return Err(SourceError::NotSet(name)),
            },
            Self::File(path) => match read_file(&path) {
                Ok(bytes) => (bytes, format!("`{}`", path.display())),
                Err(error) => {
                    return Err(SourceError::File {
                        path,
                        reason: error.to_string().to_lowercase(),
                    });
                }
            },
        };
        if super::trimmed(&bytes).is_empty() {
            return Err(SourceError::Empty(what));
        }
        if bytes.len() as u64 > LARGEST {
            return Err(SourceError::TooLarge(what));
        }
        Ok(SecretValue::new(bytes))
    }
}

/// The variables whose values are secrets by what `--secret` says.
pub fn variables(given: &[String]) -> Vec<String> {
    given.iter().filter_map(|text| Source::variable(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sources() {
        let variable = |name: &str| Source::Variable(name.to_owned());
        let table = [
            ("TOKEN", Ok(("TOKEN", variable("TOKEN")))),
            ("npm-token=env:NPM_TOKEN", Ok(("npm-token", variable("NPM_TOKEN")))),
            ("KEY=file:/a=b", Ok(("KEY", Source::File("/a=b".into())))),
            ("TOKEN=hunter22", Err(SecretError::OnCommandLine("TOKEN".into()))),
            ("TOKEN=", Err(SecretError::Name)),
            ("YWJjZA==", Err(SecretError::Name)),
            ("TOKEN=env:", Err(SecretError::OnCommandLine("TOKEN".into()))),
            ("=env:X", Err(SecretError::Name)),
            ("7 dwarfs", Err(SecretError::Name)),
        ];
        for (text, expected) in table {
            assert_eq!(Source::parse(text), expected, "{text}");
        }
    }
}
