//! What became of an archive that was read.

use crate::format::trailer::Trailer;
use crate::hash::TreeDigest;
use crate::tree::file_index::FileIndex;

/// An archive that was unpacked or verified to its end.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// What is there now.
    pub file_index: FileIndex,
    /// Of the tree, from the content that was read.
    pub digest: Option<TreeDigest>,
    /// What the archive says of itself. It is what was read.
    pub trailer: Option<Trailer>,
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
    /// Of the archive.
    pub compressed_bytes: u64,
    /// What was left out and why, for people.
    pub notices: Vec<String>,
}
