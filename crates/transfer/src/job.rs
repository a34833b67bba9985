//! What is to be moved, and by which rules.

use std::sync::Arc;
use std::time::Duration;

use archive::{
    Budget, Compression, FileIndex, Limits, OutsideLinks, PackOptions, Setuid, UnpackOptions,
};
use serde::{Deserialize, Serialize};
use store::{CacheConfig, CacheKey, KEY_VERSION, Metadata, PutCondition};

/// How the digest of a tree is computed: another way is another number.
pub const DIGEST_VERSION: u64 = 1;

/// One way of a volume's content between a store and the place where the volume is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferJob {
    pub operation: Operation,
    pub format: Format,
    pub deadlines: Deadlines,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Fills an empty volume from the first candidate that there is and that may be used.
    Restore { candidates: Vec<Candidate> },
    /// Reads an archive to its end and compares it with what it says of itself.
    Verify { key: CacheKey },
    /// Finds out what the volume holds without moving it. Files that are as the index has them are not
    /// read again.
    Scan { known: Option<Arc<FileIndex>> },
    /// Finds out whether the volume holds nothing that an archive would keep.
    LookInside,
    /// Packs the volume and uploads it. If `metadata` has a digest, the volume has to be still of that
    /// digest when it was read, or nothing is published.
    Persist { key: CacheKey, metadata: Metadata, condition: PutCondition },
}

impl Operation {
    /// What the operation is called in logs, and the first key that it is about.
    pub(crate) fn name_and_key(&self) -> (&'static str, Option<&CacheKey>) {
        match self {
            Self::Restore { candidates } => {
                ("restore", candidates.first().map(|candidate| &candidate.key))
            }
            Self::Verify { key } => ("verify", Some(key)),
            Self::Scan { .. } => ("scan", None),
            Self::LookInside => ("look inside", None),
            Self::Persist { key, .. } => ("persist", Some(key)),
        }
    }
}

/// An object that a volume may be restored from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub key: CacheKey,
    /// Only if it was written by a version of this program whose keys were made in another way.
    pub is_legacy: bool,
    /// An older object does not count.
    pub max_age: Option<Duration>,
}

/// What archives look like, and what they may hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Format {
    pub compression: Compression,
    pub outside_links: OutsideLinks,
    pub setuid: Setuid,
    pub limits: Limits,
}

/// How long a transfer may take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deadlines {
    /// Nothing may stand still for longer.
    pub stall: Duration,
    /// All attempts together take no longer.
    pub budget: Duration,
    /// What earlier attempts have taken of the budget.
    pub spent: Duration,
}

impl From<&CacheConfig> for Format {
    fn from(config: &CacheConfig) -> Self {
        let default = Limits::default();
        Self {
            compression: config.compression,
            outside_links: config.outside_links,
            setuid: config.setuid,
            limits: Limits {
                entries: config.max_entries.unwrap_or(default.entries),
                bytes: config.max_size.unwrap_or(default.bytes),
                ratio: config.max_ratio.unwrap_or(default.ratio),
                free: default.free,
            },
        }
    }
}

impl From<&CacheConfig> for Deadlines {
    fn from(config: &CacheConfig) -> Self {
        Self { stall: config.stall, budget: config.budget, spent: Duration::ZERO }
    }
}

impl Format {
    pub fn pack_options(&self, budget: Budget) -> PackOptions {
        let Self { compression, outside_links, setuid, limits } = *self;
        PackOptions { compression, outside_links, setuid, limits, budget }
    }

    /// For an archive of which the store knows this.
    pub fn unpack_options(&self, stored: &Metadata, budget: Budget) -> UnpackOptions {
        // Another version computes other digests.
        let digest = stored.digest.as_deref().filter(|_| stored.version == Some(DIGEST_VERSION));
        UnpackOptions {
            limits: self.limits,
            outside_links: self.outside_links,
            setuid: self.setuid,
            expected: digest.and_then(|digest| digest.parse().ok()),
            // Since keys are made in this way, all archives are sealed.
            sealed: stored.key_version.is_some_and(|version| version >= KEY_VERSION),
            budget,
        }
    }
}
