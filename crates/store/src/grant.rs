//! Access to one object of a store for somebody who has none of its credentials.
//!
//! The holder of the credentials signs the requests beforehand, so that a process elsewhere moves the bytes.
//! An upload is begun, recorded and published by the holder alone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::s3::{GrantedStore, Multipart};
use super::{
    CacheKey, Metadata, Objects, PutCondition, SentPart, StoreError, StoreOptions, Stored,
};

/// How to read one object, or to upload its parts. It is as secret as a password until it expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub key: CacheKey,
    /// Where the requests go, for errors.
    pub bucket: String,
    pub endpoint: Option<String>,
    pub allows: Allowed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Any range of the object.
    Read(PresignedUrl),
    /// One URL for each part, the first one for part 1.
    Write(Vec<PresignedUrl>),
}

/// A request that was signed without its body. The signature in it shows in no output.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PresignedUrl {
    pub url: String,
    /// Headers that were signed too.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.split('?').next().unwrap_or_default())?;
        f.write_str("?***")
    }
}

/// An upload whose parts somebody else sends. Dropped before it is [completed](Grants::complete), it is
/// taken back.
pub struct PendingUpload(pub(super) Multipart);

/// The capability of a store to let others move the bytes of an object.
#[async_trait]
pub trait Grants: Send + Sync {
    /// Allows the reading of an object for a while, at most a week. Whether there is one shows when it is
    /// read.
    async fn grant_read(&self, key: &CacheKey, valid: Duration) -> Result<Grant, StoreError>;

    /// Begins an upload of at most so many bytes, and allows the sending of its parts for a while.
    async fn grant_write(
        &self,
        key: &CacheKey,
        metadata: &Metadata,
        bytes: u64,
        valid: Duration,
    ) -> Result<(Grant, PendingUpload), StoreError>;

    /// Publishes an upload of which so many bytes were sent in these parts, with the promises of
    /// [`Objects::put`].
    async fn complete(
        &self,
        upload: PendingUpload,
        parts: Vec<SentPart>,
        bytes: u64,
        condition: &PutCondition,
    ) -> Result<Stored, StoreError>;
}

impl Grant {
    /// The one object that this gives access to, for whoever has nothing else. A `put` sends the parts and
    /// returns them; it publishes nothing, and looks at no condition.
    pub async fn open(self, options: &StoreOptions) -> Result<Arc<dyn Objects>, StoreError> {
        Ok(Arc::new(GrantedStore::new(self, options).await?))
    }
}
