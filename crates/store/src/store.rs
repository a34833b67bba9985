//! What every store of archives keeps its word about.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
#[cfg(feature = "s3")]
use crate::grants::Grants;
use crate::key::{CacheKey, KeyPrefix};
use crate::object::{Metadata, ObjectInfo};
use crate::stream::{Download, Upload};
use crate::upload::{PutCondition, Stored, UploadInfo};

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

    /// Records that an object was restored, or that it was not written since it is still right. Stores whose
    /// objects have no such record do nothing.
    async fn touch(&self, _key: &CacheKey) -> Result<(), StoreError> {
        Ok(())
    }

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
