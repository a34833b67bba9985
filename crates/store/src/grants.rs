//! Access to one object of a store for somebody who has none of its credentials.
//!
//! The holder of the credentials signs the requests beforehand, so that a process elsewhere moves the bytes.
//! An upload is begun, recorded and published by the holder alone.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::grant::Grant;
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::s3::multipart::Multipart;
use crate::upload::{PutCondition, SentPart, Stored};

/// An upload whose parts somebody else sends. Dropped before it is [completed](Grants::complete), it is
/// taken back.
pub struct PendingUpload(pub(crate) Multipart);

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
    /// [`Objects::put`](crate::Objects::put).
    async fn complete(
        &self,
        upload: PendingUpload,
        parts: Vec<SentPart>,
        bytes: u64,
        condition: &PutCondition,
    ) -> Result<Stored, StoreError>;
}
