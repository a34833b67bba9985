//! How an object is published, and what is known of uploads.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::key::CacheKey;

/// What has to be under a key for an upload to be published there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PutCondition {
    /// Anything or nothing.
    None,
    /// The version with this etag.
    Version(String),
    /// Nothing, or what this program wrote: an object whose metadata say so, or the version with this etag,
    /// whose content says so.
    Ours(Option<String>),
}

/// What a `put` has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Of the object, in bytes.
    pub size: u64,
    /// What the user should know of how it was published.
    pub notice: Option<String>,
    /// What was sent but not published, where only the one who granted the upload can do that.
    pub parts: Option<Vec<SentPart>>,
}

/// A part that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentPart {
    pub number: i32,
    pub etag: String,
}

/// An upload that has begun and not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadInfo {
    /// What it is to become; on a directory the path of the temporary file below the root.
    pub key: CacheKey,
    /// Names the upload among those of its key; empty on a directory.
    pub id: String,
    /// When it began; on a directory, when it was last written to.
    pub begun: SystemTime,
    pub writer: UploadWriter,
}

/// What is known of the writer of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadWriter {
    /// A process of this machine that is alive.
    Alive,
    /// A process of this machine that is gone.
    Gone,
    /// This machine did not begin it.
    Unknown,
}
