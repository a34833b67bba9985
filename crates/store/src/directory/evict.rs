//! Keeping a store below a size.

use std::collections::HashSet;

use super::error::is_absent;
use super::lock::DirectoryLock;
use super::store::DirectoryStore;
use crate::error::StoreError;
use crate::key::{CacheKey, KeyPrefix};
use crate::lru::least_recently_used;
use crate::object::ObjectInfo;

/// What became of a store that had to be smaller.
#[derive(Debug, Default)]
pub struct Eviction {
    /// How many archives were removed, those of `too_large` included.
    pub removed: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// Those of them that had more bytes than the store may have, and that were to be kept otherwise.
    pub too_large: Vec<ObjectInfo>,
    /// How many bytes those have that were to be kept and stay.
    pub kept: u64,
    /// Why archives could not be removed that had to be, the first reason.
    pub failed: Option<StoreError>,
}

impl DirectoryStore {
    /// Removes archives until those that are left have at most `limit` bytes, as [`least_recently_used`] says.
    ///
    /// Only archives count and go whose metadata prove that this program wrote them. One stays that somebody
    /// has used or replaced since it was looked at. Whoever reads one that is removed has it open, and reads on.
    /// The root is locked meanwhile, so that of several runs each one sees what the one before has left.
    pub async fn evict(&self, limit: u64, kept: HashSet<CacheKey>) -> Result<Eviction, StoreError> {
        self.blocking(move |store| store.evict_now(limit, &kept)).await
    }

    fn evict_now(&self, limit: u64, kept: &HashSet<CacheKey>) -> Result<Eviction, StoreError> {
        let _lock = match DirectoryLock::acquire(&self.root) {
            Ok(lock) => lock,
            // Nobody has put anything there so far.
            Err(StoreError::Io { source, .. }) if is_absent(&source) => {
                return Ok(Eviction::default());
            }
            Err(error) => return Err(error),
        };
        let mut archives = self.archives(&KeyPrefix::EMPTY)?;
        archives.retain(|archive| archive.metadata.is_ours());
        let is_kept = |archive: &ObjectInfo| kept.contains(&archive.key);
        let kept = archives.iter().filter(|archive| is_kept(archive) && archive.size <= limit);
        let kept = kept.map(|archive| archive.size).sum();
        let mut eviction = Eviction { kept, ..Eviction::default() };
        for archive in least_recently_used(&archives, limit, is_kept) {
            match self.evict_one(archive) {
                Ok(false) => {}
                Ok(true) => {
                    eviction.removed += 1;
                    eviction.bytes += archive.size;
                    if is_kept(archive) {
                        eviction.too_large.push(archive.clone());
                    }
                }
                Err(error) => _ = eviction.failed.get_or_insert(error),
            }
        }
        Ok(eviction)
    }

    fn evict_one(&self, archive: &ObjectInfo) -> Result<bool, StoreError> {
        let path = self.path(&archive.key);
        let parent = path.parent().unwrap_or(&self.root);
        // The root's own lock is held already.
        let _lock = match parent == self.root {
            true => None,
            false => Some(DirectoryLock::acquire(parent)?),
        };
        self.remove(&archive.key, |now| (&now.etag, now.used) == (&archive.etag, archive.used))
    }
}
