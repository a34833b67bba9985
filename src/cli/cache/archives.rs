//! Archives as people and programs see them.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Failure, print, unavailable};
use crate::report::{self, human_size};
use archive::Compression;
use store::{KeyPrefix, ObjectInfo, printable, printable_json};

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
    /// The volume's name, without prefixes.
    volume: String,
    /// Whether another program wrote it.
    foreign: bool,
    /// In bytes.
    size: u64,
    modified: String,
    age_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    /// When it was last restored or written, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_bytes: Option<u64>,
}

impl Archive {
    /// `info` is of a key that is one of an archive.
    pub fn new(info: ObjectInfo, prefix: &KeyPrefix) -> Self {
        let shown = prefix.below(&info.key).unwrap_or(info.key.as_str()).to_owned();
        Self { info, shown }
    }

    /// How it is compressed, by its name.
    pub fn compression(&self) -> Option<Compression> {
        self.info.key.compression()
    }

    /// What it is called below the configured prefixes, without the extension.
    pub fn name(&self) -> &str {
        let extension = self.compression().map(Compression::extension);
        let name = extension.and_then(|extension| self.shown.strip_suffix(extension));
        name.and_then(|name| name.strip_suffix('.')).unwrap_or(&self.shown)
    }

    pub fn is_called(&self, name: &str) -> bool {
        name == self.shown || name == self.name() || name == self.info.key.as_str()
    }

    /// Whether it is the archive of this volume, right below the configured prefixes.
    pub fn is_of_volume(&self, name: &str) -> bool {
        !self.shown.contains('/') && self.info.key.volume().as_deref() == Some(name)
    }

    /// Whether another program wrote it, or nothing says that this one did.
    pub fn is_foreign(&self) -> bool {
        !self.info.metadata.is_ours()
    }

    /// Who wrote it, for people.
    pub fn writer(&self) -> String {
        match &self.info.metadata.writer {
            _ if self.is_foreign() => "(foreign)".to_owned(),
            Some(writer) => printable(writer),
            None => "-".to_owned(),
        }
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
            volume: self.info.key.volume().unwrap_or_default(),
            foreign: self.is_foreign(),
            size: self.info.size,
            modified: moment(self.info.modified),
            age_seconds: self.age().as_secs(),
            writer: metadata.writer.as_deref(),
            project: metadata.project.as_deref(),
            last_used: self.info.used.map(moment),
            digest: metadata.digest.as_deref(),
            entries: metadata.entries,
            content_bytes: metadata.content_bytes,
        }
    }
}

/// A time as `2026-11-29T12:00:00Z`. Times that cannot be written so, which files and servers may have, become
/// the nearest that can.
pub fn moment(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
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

/// The JSON of archives.
pub fn describe_all(archives: &[Archive]) -> Vec<Described<'_>> {
    archives.iter().map(Archive::described).collect()
}

/// Prints archives as a table.
pub fn show(archives: &[Archive]) -> Result<(), Failure> {
    let rows = archives.iter().map(|archive| {
        [
            printable(&archive.shown),
            human_size(archive.info.size),
            age(archive.age()),
            archive.writer(),
        ]
    });
    table(["ARCHIVE", "SIZE", "AGE", "WRITER"], rows.collect())
}

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    print(&(printable_json(&text.map_err(|error| unavailable(error.to_string()))?) + "\n"))
}
