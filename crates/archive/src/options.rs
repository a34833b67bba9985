//! How to pack and unpack.

use serde::{Deserialize, Serialize};

use crate::compression::Compression;
use crate::flow::budget::Budget;
use crate::hash::TreeDigest;

#[derive(Clone, Debug)]
pub struct PackOptions {
    pub compression: Compression,
    pub outside_links: OutsideLinks,
    pub setuid: Setuid,
    /// Those that the archive will have to keep when it is unpacked.
    pub limits: Limits,
    pub budget: Budget,
}

#[derive(Clone, Debug)]
pub struct UnpackOptions {
    pub limits: Limits,
    pub outside_links: OutsideLinks,
    pub setuid: Setuid,
    /// The digest of the tree, as far as others know it. An archive of another tree is damaged.
    pub expected: Option<TreeDigest>,
    /// Whether the archive has to have a seal, because others know that its writer sealed it. One without
    /// is damaged.
    pub sealed: bool,
    pub budget: Budget,
}

/// What an archive may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Files, directories and links.
    pub entries: u64,
    /// Of unpacked archive, in bytes: headers, holes and attributes included.
    pub bytes: u64,
    /// The same for each compressed byte, beyond those that are free.
    pub ratio: u64,
    /// What may be unpacked whatever its ratio, in bytes.
    pub free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40, ratio: 1000, free: 1 << 30 }
    }
}

impl Limits {
    /// Whether so many unpacked bytes are too many for an archive of so many.
    pub(crate) fn is_bomb(&self, unpacked: u64, packed: u64) -> bool {
        unpacked > self.free && unpacked > packed.saturating_mul(self.ratio)
    }
}

/// What becomes of symbolic links that lead out of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutsideLinks {
    /// An archive with one is neither made nor unpacked.
    #[default]
    Refuse,
    Keep,
}

/// What becomes of the setuid and setgid bits of files and directories, and of the capabilities of files,
/// which give as much power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setuid {
    /// Neither packed nor unpacked.
    #[default]
    Drop,
    /// Kept. Files with one of these bits are only packed and unpacked by root; capabilities are left out by
    /// others.
    Keep,
}
