//! How to pack and unpack.

use super::{Budget, Compression};

#[derive(Clone, Debug)]
pub struct PackOptions {
    pub compression: Compression,
    pub outside_links: OutsideLinks,
    pub budget: Budget,
}

#[derive(Clone, Debug)]
pub struct UnpackOptions {
    pub limits: Limits,
    pub outside_links: OutsideLinks,
    pub budget: Budget,
}

/// What an archive may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and links.
    pub entries: u64,
    /// Of unpacked archive, in bytes.
    pub bytes: u64,
    /// Unpacked bytes for each compressed one, beyond those that are free.
    pub ratio: u64,
    /// What may be unpacked whatever its ratio, in bytes.
    pub free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40, ratio: 1000, free: 1 << 30 }
    }
}

/// What becomes of symbolic links that lead out of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutsideLinks {
    /// An archive with one is neither made nor unpacked.
    #[default]
    Refuse,
    Keep,
}
