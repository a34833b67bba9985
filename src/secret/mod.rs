//! The secrets of a run: what the command line names, and nothing else of this machine.
//!
//! The pipeline's code knows their names. Their values go from here to the tasks that ask for them, and to
//! the [masks](crate::process::masking) of all that is shown.

mod env_file;
mod source;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use mask::{SecretSet, SecretValue};

pub use env_file::EnvFileError;
use source::Source;
pub use source::{SourceError, variables};
pub use store::of_store;

/// The largest secret, and all secrets of a run together, in bytes. They are in memory in many spellings, which
/// take up to some hundred times as much.
const LARGEST: u64 = 1024 * 1024;

/// The most secrets of a run.
const MOST: usize = 1000;

/// The secrets of a run by their names.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, SecretValue>);

/// Why there are no secrets to begin a run with. No message has any part of a value.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SecretError {
    #[error("`--secret` takes a name and where its value is, got a value for `{0}`")]
    OnCommandLine(String),
    #[error("`--secret` takes the name of a variable, got `***`")]
    Name,
    #[error("the secret `{0}` is given twice")]
    Twice(String),
    #[error("secret `{}`: {error}", source::shown(name))]
    Source { name: String, error: SourceError },
    #[error("`{}`: {error}", path.display())]
    File { path: PathBuf, error: EnvFileError },
    #[error("there are more than {MOST} secrets")]
    TooMany,
    #[error("the secrets together have more than 1 MiB")]
    TooLarge,
}

impl SecretError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::OnCommandLine(name) => format!(
                "a value on the command line would show in every process list: set the variable `{name}` and \
                 write `--secret {name}`, or name a source, as in `--secret {name}=env:VARIABLE` or \
                 `--secret {name}=file:PATH`"
            ),
            Self::Name => {
                "a name has letters, digits, `_`, `-` and `.`, and begins with a letter or `_`"
                    .to_owned()
            }
            Self::Twice(_) => "keep one of them".to_owned(),
            Self::Source { name, error } => error.help(name),
            Self::File { .. } => {
                "write one `NAME=value` a line; quotes around a value keep blanks and line breaks"
                    .to_owned()
            }
            Self::TooMany | Self::TooLarge => {
                "name those that the pipeline hands to its tasks, and keep data in a volume"
                    .to_owned()
            }
        }
    }
}

impl Secrets {
    /// Reads what `--secret` and `--secrets-file` name, in which the former is preferred.
    pub fn read(given: &[String], files: &[PathBuf]) -> Result<Self, SecretError> {
        let mut found = BTreeMap::new();
        for text in given {
            let (name, source) = Source::parse(text)?;
            let value = source
                .read()
                .map_err(|error| SecretError::Source { name: name.to_owned(), error })?;
            if found.insert(name.to_owned(), value).is_some() {
                return Err(SecretError::Twice(name.to_owned()));
            }
        }
        let mut in_files = BTreeMap::new();
        for path in files {
            let entries = env_file::read(path)
                .map_err(|error| SecretError::File { path: path.clone(), error })?;
            // A later file is preferred, as with `--vars-file`.
            in_files.extend(entries);
        }
        for (name, value) in in_files {
            found.entry(name).or_insert(value);
        }
        if found.len() > MOST {
            return Err(SecretError::TooMany);
        }
        if found.values().map(|value| value.expose().len() as u64).sum::<u64>() > LARGEST {
            return Err(SecretError::TooLarge);
        }
        Ok(Self(found))
    }

    pub fn get(&self, name: &str) -> Option<&SecretValue> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The first secret whose value is a part of this text.
    pub fn within(&self, text: &str) -> Option<&str> {
        let is_within = |value: &SecretValue| {
            let value = trimmed(value.expose());
            value.len() >= SecretSet::LEAST
                && memchr::memmem::find(text.as_bytes(), value).is_some()
        };
        self.iter().find(|(_, value)| is_within(value)).map(|(name, _)| name)
    }
}

/// A secret as a variable or a part of a text: without the line breaks at its end, as a shell's `$(cat file)`
/// has it. `None` if it is no text.
pub fn as_text(value: &SecretValue) -> Option<&str> {
    std::str::from_utf8(trimmed(value.expose())).ok()
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// Names alone.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Whether a secret may be called so.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The bytes of a file, of at most [`LARGEST`]. A device or a directory is refused.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    use std::os::unix::fs::FileTypeExt;

    let file = std::fs::File::open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() || kind.is_block_device() || kind.is_char_device() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is a directory or a device"));
    }
    let mut bytes = Vec::new();
    // Pipes are files too, as in `file:/dev/fd/3`.
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::new(ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(bytes)
}
