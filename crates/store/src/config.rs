//! How volumes are cached.

use std::time::Duration;

use archive::{Compression, OutsideLinks, Setuid};
use spec::VolumeName;

use crate::key::{CacheKey, CacheKeyError, KeyPrefix};
use crate::location::StoreLocation;

/// Where and how volumes are cached.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// `cache=`
    pub location: StoreLocation,
    /// `ttl=`: an older object is a miss.
    pub ttl: Option<Duration>,
    /// `cache_compression=`
    pub compression: Compression,
    /// `cache_prefix=`
    pub prefix: KeyPrefix,
    /// `cache_fallback=`: up to five prefixes that are tried in place of `prefix` on a miss.
    pub fallback: Vec<KeyPrefix>,
    /// `cache_policy=`
    pub policy: CachePolicy,
    /// `cache_when=`
    pub when: CacheWhen,
    /// `cache_stall=`: a transfer that moves no byte for this long is retried.
    pub stall: Duration,
    /// `cache_budget=`: the most time that one restore or persist may take.
    pub budget: Duration,
    /// `cache_max_entries=`: how many entries of an archive are unpacked.
    pub max_entries: Option<u64>,
    /// `cache_max_size=`: how many bytes an archive may unpack to.
    pub max_size: Option<u64>,
    /// `cache_max_ratio=`: how many times larger than its archive a volume may be.
    pub max_ratio: Option<u64>,
    /// `cache_outside_links=`
    pub outside_links: OutsideLinks,
    /// `cache_setuid=`
    pub setuid: Setuid,
}

/// A key to restore a volume from.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoreSource {
    pub key: CacheKey,
    /// Whether the volume is persisted under this key.
    pub is_own: bool,
    /// Whether the key is one of [`CacheKey::legacy`]. Its archive counts only if its metadata say that a
    /// version with such keys wrote it: any other one belongs to another volume.
    pub is_legacy: bool,
}

/// Which way the cache is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    #[default]
    PullPush,
    Pull,
    Push,
    None,
}

/// After which end of a pipeline volumes are persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheWhen {
    #[default]
    Success,
    Always,
    Failure,
}

impl CacheConfig {
    /// All defaults.
    pub(crate) fn at(location: StoreLocation) -> Self {
        Self {
            location,
            ttl: None,
            compression: Compression::Zstd,
            prefix: KeyPrefix::default(),
            fallback: Vec::new(),
            policy: CachePolicy::default(),
            when: CacheWhen::default(),
            stall: Duration::from_secs(30),
            budget: Duration::from_secs(30 * 60),
            max_entries: None,
            max_size: None,
            max_ratio: None,
            outside_links: OutsideLinks::default(),
            setuid: Setuid::default(),
        }
    }

    /// Where a volume's archive is.
    pub fn key(&self, volume: &VolumeName) -> Result<CacheKey, CacheKeyError> {
        CacheKey::new(&[self.location.prefix(), &self.prefix], volume, self.compression)
    }

    /// Where a volume may be restored from, in the order to look: its own key, then those of the
    /// fallbacks.
    pub fn sources(&self, volume: &VolumeName) -> Result<Vec<RestoreSource>, CacheKeyError> {
        let mut sources = Vec::new();
        for (index, prefix) in std::iter::once(&self.prefix).chain(&self.fallback).enumerate() {
            let prefixes = [self.location.prefix(), prefix];
            let key = CacheKey::new(&prefixes, volume, self.compression)?;
            sources.push(RestoreSource { key, is_own: index == 0, is_legacy: false });
            // A name that is too long for such a key never had one.
            if let Ok(Some(key)) = CacheKey::legacy(&prefixes, volume, self.compression) {
                sources.push(RestoreSource { key, is_own: false, is_legacy: true });
            }
        }
        Ok(sources)
    }

    /// What the keys of all volumes begin with.
    pub fn key_prefix(&self) -> Result<KeyPrefix, CacheKeyError> {
        self.location.prefix().join(&self.prefix)
    }
}

impl CachePolicy {
    /// Whether volumes are restored.
    pub fn pulls(self) -> bool {
        matches!(self, Self::PullPush | Self::Pull)
    }

    /// Whether volumes are persisted.
    pub fn pushes(self) -> bool {
        matches!(self, Self::PullPush | Self::Push)
    }
}
