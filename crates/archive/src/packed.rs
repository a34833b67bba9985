//! What became of a tree that was packed.

use crate::error::PackError;
use crate::hash::TreeDigest;
use crate::options::Limits;

/// An archive that was packed to its end.
#[derive(Debug)]
pub struct Packed {
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
    /// Of the archive.
    pub compressed_bytes: u64,
    /// Of the tree that is in the archive, as a [`scan`](crate::scan) computes it.
    pub digest: TreeDigest,
    /// How many files changed while they were packed. The archive is whole all the same.
    pub changed: u64,
    /// What was left out and why, for people.
    pub notices: Vec<String>,
}

impl Packed {
    /// What is known before the first entry.
    pub(crate) fn empty() -> Self {
        Self {
            entries: 0,
            bytes: 0,
            compressed_bytes: 0,
            digest: TreeDigest([0; 32]),
            changed: 0,
            notices: Vec::new(),
        }
    }

    /// Whether the archive obeys the limits that it will be unpacked by.
    pub(crate) fn check(&self, limits: &Limits, size: Size) -> Result<(), PackError> {
        let Size { unpacked, compressed } = size;
        if limits.is_bomb(unpacked, compressed) {
            return Err(PackError::Limit(format!(
                "it unpacks to more than {} times its size, allow more with `cache_max_ratio`",
                limits.ratio
            )));
        }
        if unpacked > limits.bytes {
            return Err(PackError::Limit(format!(
                "it holds more bytes than {}, allow more with `cache_max_size`",
                limits.bytes
            )));
        }
        if self.entries > limits.entries {
            return Err(PackError::Limit(format!(
                "it holds more than {} entries, allow more with `cache_max_entries`",
                limits.entries
            )));
        }
        Ok(())
    }
}

/// How large an archive is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Of the content, and of what else counts when it is unpacked.
    pub unpacked: u64,
    /// What the sink got.
    pub compressed: u64,
}
