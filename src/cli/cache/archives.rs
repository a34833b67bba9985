//! Archives as people and programs see them.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Failure, print, unavailable};
use crate::archive::Compression;
use crate::cache::{KeyPrefix, ObjectInfo};
use crate::report;

/// An object of a store.
pub struct Archive {
    pub info: ObjectInfo,
    /// What `ls` shows: the key below the configured prefixes.
    pub shown: String,
}

/// The JSON of an archive.
#[derive(Serialize)]
pub struct Described<'a> {
    key: &'a str,
    name: &'a str,
    /// In bytes.
    size: u64,
    modified: String,
    age_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_bytes: Option<u64>,
}

impl Archive {
    pub fn new(info: ObjectInfo, prefix: &KeyPrefix) -> Self {
        let key = info.key.as_str();
        let shown = match key.strip_prefix(prefix.as_str()) {
            Some(rest) if !prefix.is_empty() => rest.trim_start_matches('/').to_owned(),
            _ => key.to_owned(),
        };
        Self { info, shown }
    }

    /// How it is compressed, by its name.
    pub fn compression(&self) -> Option<Compression> {
        let ends = |compression: &Compression| {
            self.shown.strip_suffix(compression.extension()).is_some_and(|name| name.ends_with('.'))
        };
        Compression::ALL.into_iter().find(ends)
    }

    /// The volume's name.
    pub fn name(&self) -> &str {
        let extension = self.compression().map(Compression::extension);
        let name = extension.and_then(|extension| self.shown.strip_suffix(extension));
        name.map_or(&self.shown, |name| name.trim_end_matches('.'))
    }

    pub fn is_called(&self, name: &str) -> bool {
        name == self.shown || name == self.name() || name == self.info.key.as_str()
    }

    pub fn age(&self) -> Duration {
        // What comes from the future is as fresh as can be.
        let age = SystemTime::now().duration_since(self.info.modified).unwrap_or_default();
        Duration::from_secs(age.as_secs())
    }

    pub fn described(&self) -> Described<'_> {
        let metadata = &self.info.metadata;
        Described {
            key: self.info.key.as_str(),
            name: self.name(),
            size: self.info.size,
            modified: humantime::format_rfc3339_seconds(self.info.modified).to_string(),
            age_seconds: self.age().as_secs(),
            writer: metadata.writer.as_deref(),
            digest: metadata.digest.as_deref(),
            entries: metadata.entries,
            content_bytes: metadata.content_bytes,
        }
    }
}

/// The two largest units of an age: `3days 4h`.
pub fn age(age: Duration) -> String {
    let text = humantime::format_duration(age).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Prints a table without lines.
pub fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Result<(), Failure> {
    let lines = report::table(head, rows).map(|line| line + "\n");
    print(&lines.collect::<String>())
}

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    print(&(text.map_err(|error| unavailable(error.to_string()))? + "\n"))
}
