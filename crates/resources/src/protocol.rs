//! What is read and written.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ResourceError;
use crate::log::Log;
use crate::values::Object;

/// A request is a configuration that a person wrote; it is never this large, in bytes.
const LARGEST_REQUEST: u64 = 64 << 20;

/// What a resource type is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Finds versions.
    Check,
    /// Fetches a version.
    In,
    /// Makes a version.
    Out,
}

impl FromStr for Action {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        match text {
            "check" => Ok(Self::Check),
            "in" => Ok(Self::In),
            "out" => Ok(Self::Out),
            _ => Err(ResourceError::failed(format!(
                "no action `{}`, use `check`, `in` or `out`",
                crate::error::printable(text)
            ))),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// As it was sent. What is missing is `null`.
#[derive(Deserialize)]
pub struct Request {
    #[serde(default)]
    pub source: Value,
    #[serde(default)]
    pub version: Value,
    #[serde(default)]
    pub params: Value,
}

impl Request {
    pub fn read(from: &mut dyn Read) -> Result<Self, ResourceError> {
        let mut bytes = Vec::new();
        from.take(LARGEST_REQUEST)
            .read_to_end(&mut bytes)
            .map_err(|error| ResourceError::Request(format!("it cannot be read: {error}")))?;
        // serde_json quotes no part of the input, which may have secrets, but for unexpected scalars.
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            ResourceError::Request(format!(
                "it is no JSON object with `source`, `version` and `params` (line {line}, column {column})"
            ))
        })
    }
}

/// An action that is to be carried out.
pub struct Job<'a> {
    pub action: Action,
    pub source: Object<'a>,
    pub params: Object<'a>,
    /// `None` where the request has none.
    pub version: Option<Object<'a>>,
    pub request: &'a Request,
    pub log: &'a Log<'a>,
    directory: Option<PathBuf>,
}

impl<'a> Job<'a> {
    pub fn new(
        action: Action,
        directory: Option<&Path>,
        request: &'a Request,
        log: &'a Log<'a>,
    ) -> Result<Self, ResourceError> {
        let version = Object::new("version", &request.version)?;
        let directory = match directory {
            // So that it means the same in each program that is started somewhere else.
            Some(path) => Some(std::path::absolute(path).map_err(ResourceError::io("use", path))?),
            None => None,
        };
        Ok(Self {
            action,
            source: Object::new("source", &request.source)?,
            params: Object::new("params", &request.params)?,
            version: (!version.is_empty()).then_some(version),
            request,
            log,
            directory,
        })
    }

    /// What `in` and `out` are called with.
    pub fn directory(&self) -> Result<&Path, ResourceError> {
        self.directory.as_deref().ok_or_else(|| {
            ResourceError::failed(format!("`{}` needs a directory as its argument", self.action))
        })
    }

    /// A directory for temporary files, below the one of the action if it has one.
    pub fn scratch(&self) -> Result<tempfile::TempDir, ResourceError> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".ci-resource-");
        match &self.directory {
            Some(directory) => builder
                .tempdir_in(directory)
                .map_err(ResourceError::io("make a temporary directory in", directory)),
            None => builder
                .tempdir()
                .map_err(ResourceError::io("make a temporary directory in", &std::env::temp_dir())),
        }
    }
}

/// A version: names and their values.
pub type Version = Map<String, Value>;

/// A version of one field.
pub fn version(name: &str, value: impl Into<String>) -> Version {
    Version::from_iter([(name.to_owned(), Value::String(value.into()))])
}

/// Something that people may want to know about a version.
#[derive(Clone, Debug, Serialize)]
pub struct Metadata {
    pub name: String,
    pub value: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
}

impl Metadata {
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into(), kind: None }
    }
}

/// What an action answers.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Response {
    /// Oldest first.
    Versions(Vec<Version>),
    Made {
        version: Version,
        metadata: Vec<Metadata>,
    },
}

impl Response {
    pub fn write(&self, to: &mut dyn Write) -> Result<(), ResourceError> {
        let failed = |error: std::io::Error| {
            ResourceError::failed(format!("cannot write the response: {error}"))
        };
        let mut line = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        to.write_all(&line).and_then(|()| to.flush()).map_err(failed)
    }
}
