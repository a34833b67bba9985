//! What is known of an object in a store.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::key::CacheKey;

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectInfo {
    pub key: CacheKey,
    /// In bytes.
    pub size: u64,
    pub modified: SystemTime,
    /// When it was last restored or written, in a store that records that.
    #[serde(default)]
    pub used: Option<SystemTime>,
    /// Names this version of the object among all versions of it.
    pub etag: String,
    /// Empty for an object that another program wrote.
    pub metadata: Metadata,
}

impl ObjectInfo {
    /// When it was last restored or written, as far as the store knows.
    pub fn last_used(&self) -> SystemTime {
        self.used.unwrap_or(self.modified)
    }
}

/// What the writer of an archive said about it. On S3 these are the user metadata `ci-digest`,
/// `ci-writer`, `ci-project`, `ci-entries`, `ci-content-bytes`, `ci-version` and `ci-key-version`,
/// percent-encoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Of the tree, not of the archive's bytes.
    pub digest: Option<String>,
    /// Who wrote it, for people.
    pub writer: Option<String>,
    /// The name of the project whose volume it is.
    pub project: Option<String>,
    /// How many entries the archive has.
    pub entries: Option<u64>,
    /// The size of all files before compression, in bytes.
    pub content_bytes: Option<u64>,
    /// Of the format that `digest` is computed by.
    pub version: Option<u64>,
    /// Of the way that the object's key was made, [`KEY_VERSION`](crate::key::KEY_VERSION).
    pub key_version: Option<u64>,
}

impl Metadata {
    /// Whether this program wrote the object. All its versions say so: they name the writer and how the
    /// digest is computed.
    pub fn is_ours(&self) -> bool {
        self.writer.is_some() && self.version.is_some()
    }

    /// Whether a version of this program wrote the object that had other keys, those of
    /// [`CacheKey::legacy`]. An object without metadata may be of any version.
    pub fn is_of_old_keys(&self) -> bool {
        self.is_ours() && self.key_version.is_none()
    }

    /// As names and values.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        [
            ("digest", self.digest.clone()),
            ("writer", self.writer.clone()),
            ("project", self.project.clone()),
            ("entries", number(self.entries)),
            ("content-bytes", number(self.content_bytes)),
            ("version", number(self.version)),
            ("key-version", number(self.key_version)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// The reverse of [`Metadata::pairs`]; what is unknown or no number is left out.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut metadata = Self::default();
        for (name, value) in pairs {
            match name {
                "digest" => metadata.digest = Some(value),
                "writer" => metadata.writer = Some(value),
                "project" => metadata.project = Some(value),
                "entries" => metadata.entries = value.parse().ok(),
                "content-bytes" => metadata.content_bytes = value.parse().ok(),
                "version" => metadata.version = value.parse().ok(),
                "key-version" => metadata.key_version = value.parse().ok(),
                _ => {}
            }
        }
        metadata
    }
}
