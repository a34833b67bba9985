//! What every store of archives keeps its word about.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[cfg(feature = "s3")]
use super::Grants;
use super::{CacheKey, Download, KeyPrefix, Upload};

/// What moving archives takes of a store: whole objects, read and written as streams.
///
/// Every future may be dropped at any point. The futures need a tokio runtime with time and I/O.
#[async_trait]
pub trait Objects: Send + Sync {
    /// An object's content and what is known of it; `None` when there is none.
    ///
    /// All bytes of a download are of one version of the object, the one described.
    async fn get(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Download)>, StoreError>;

    /// Replaces an object as a whole. `metadata` is what is known of it at the beginning.
    ///
    /// A reader sees the old object or the new one, never a mixture or a part. The new one is
    /// published only after the sender of `parts` said that its end was reached. A sender that goes
    /// away, an error and a dropped future leave the old object and, once [`CacheStore::close`]
    /// has returned, nothing else; but a future that is dropped after that end may already have published.
    /// Of writers at the same time the last one to end wins, unless its `condition` does not hold any
    /// more: then it fails with [`StoreError::Replaced`] or [`StoreError::Foreign`] and leaves what is there.
    async fn put(
        &self,
        key: &CacheKey,
        metadata: &Metadata,
        condition: &PutCondition,
        parts: Upload,
    ) -> Result<Stored, StoreError>;

    /// Whether the store itself sends requests again that stand still, as one on the network does. A
    /// transfer leaves stalls to such a store, and ends it by its budget alone.
    fn retries(&self) -> bool {
        false
    }
}

/// A place for objects, each of them whole or absent.
#[async_trait]
pub trait CacheStore: Objects {
    /// Finds out within three seconds whether the store can be used, and leaves nothing behind.
    ///
    /// The error says in plain words what is wrong with the bucket, the region, the credentials,
    /// the clock or the rights; the right to write is looked at only when `writes`.
    async fn probe(&self, writes: bool) -> Result<(), StoreError>;

    /// What is known of an object without reading it; `None` when there is none.
    async fn stat(&self, key: &CacheKey) -> Result<Option<ObjectInfo>, StoreError>;

    /// The same, with the last bytes of the object: as many as asked for, or all of a smaller one. They
    /// may be missing when they could not be read in the first attempt.
    async fn tail(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError>;

    /// The same with the first bytes of the object.
    async fn start(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError>;

    /// All objects below a prefix whose keys are those of archives, sorted by key. Their metadata may be
    /// left out. A listing that may be incomplete is an error.
    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Removes an object if it is still the version with this `etag`, and returns whether it did.
    async fn delete(&self, key: &CacheKey, etag: &str) -> Result<bool, StoreError>;

    /// How many things [`CacheStore::sweep`] would remove.
    async fn left_behind(&self) -> Result<u64, StoreError>;

    /// Removes what killed writers left behind and returns how many things that were. Only what this
    /// program is known to have made is removed: uploads that this machine's journal names, and
    /// temporary files that nobody holds. What a live writer works on is left alone.
    async fn sweep(&self) -> Result<u64, StoreError>;

    /// Uploads below a prefix that have begun and not ended, whoever began them. On a directory these are
    /// temporary files.
    async fn uploads(&self, prefix: &KeyPrefix) -> Result<Vec<UploadInfo>, StoreError>;

    /// Ends an upload of [`CacheStore::uploads`] without publishing it, and returns whether it was still
    /// there. One that this machine still works on is left alone.
    async fn abort_upload(&self, upload: &UploadInfo) -> Result<bool, StoreError>;

    /// Waits, for a bounded time, until what dropped and failed writers left behind is removed.
    async fn close(&self);

    /// How this store lets somebody without its credentials move the bytes of one object. `None` where
    /// nothing but the credentials, or the rights of this process, gives access.
    #[cfg(feature = "s3")]
    fn grants(&self) -> Option<&dyn Grants> {
        None
    }
}

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

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectInfo {
    pub key: CacheKey,
    /// In bytes.
    pub size: u64,
    pub modified: SystemTime,
    /// Names this version of the object among all versions of it.
    pub etag: String,
    /// Empty for an object that another program wrote.
    pub metadata: Metadata,
}

/// What the writer of an archive said about it. On S3 these are the user metadata `ci-digest`,
/// `ci-writer`, `ci-entries`, `ci-content-bytes`, `ci-version` and `ci-key-version`, percent-encoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Of the tree, not of the archive's bytes.
    pub digest: Option<String>,
    /// Who wrote it, for people.
    pub writer: Option<String>,
    /// How many entries the archive has.
    pub entries: Option<u64>,
    /// The size of all files before compression, in bytes.
    pub content_bytes: Option<u64>,
    /// Of the format that `digest` is computed by.
    pub version: Option<u64>,
    /// Of the way that the object's key was made, [`KEY_VERSION`](super::KEY_VERSION).
    pub key_version: Option<u64>,
}

/// The messages say what to do; a variant exists where a caller decides by it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configuration has to change: bucket, region, endpoint.
    #[error("{0}")]
    Misconfigured(String),
    /// Credentials, rights or the clock have to change.
    #[error("{0}")]
    Denied(String),
    /// The store cannot be reached or is overloaded; it may work later.
    #[error("{0}")]
    Unavailable(String),
    #[error(
        "`{key}` made no progress for {} in {attempts} attempts, check the connection or raise `cache_stall`",
        humantime::format_duration(*stall)
    )]
    Stalled { key: CacheKey, stall: Duration, attempts: u32 },
    #[error(
        "the transfer of `{key}` was given up after {}, raise `cache_budget` to allow more",
        humantime::format_duration(*budget)
    )]
    OverBudget { key: CacheKey, budget: Duration },
    /// Another writer replaced or removed the object while it was read; reading again may work.
    #[error("`{key}` was replaced by another writer while it was read, read it again")]
    Changed { key: CacheKey },
    /// The condition of a `put` does not hold any more; nothing was published.
    #[error("another run has replaced `{key}` since it was read")]
    Replaced { key: CacheKey },
    /// Another program wrote what is under the key of a `put`; nothing was published.
    #[error(
        "`{key}` was not written by `ci`, remove it with `ci cache rm --include-foreign` or choose another `cache_prefix`"
    )]
    Foreign { key: CacheKey },
    /// Bytes are missing or too many.
    #[error("of `{key}` {got} bytes arrived instead of {expected}, read it again")]
    Length { key: CacheKey, expected: u64, got: u64 },
    /// The sender of an upload went away before its end; nothing was published.
    #[error("the archive for `{key}` was not finished, the object in the store is unchanged")]
    Unfinished { key: CacheKey },
    #[error("cannot use `{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Other(String),
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
