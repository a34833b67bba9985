//! What an archive says of itself at its end: the hashes of all files and the digest of the tree. Only
//! then is all of it known to whoever reads a tree once.
//!
//! It is a skippable frame, so only archives compressed with Zstandard have it. It can be read without
//! the rest of the archive.

use super::frame::{OWN_MAGIC, skippable};
use crate::hash::{ContentHash, TreeDigest};

/// Said at the start of an archive that it ends with a trailer, in a skippable frame.
const START: &[u8; 8] = b"ci-hash\x02";

/// What the trailer ends with, and so the archive: a name and a version.
const END: &[u8; 8] = b"ci-tree\x01";

/// What is said of the tree, at the end of the trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub digest: TreeDigest,
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
}

impl Trailer {
    /// How many bytes at the end of an archive are enough for [`Trailer::at_end`].
    pub const SIZE: usize = 32 + 8 + 8 + END.len();

    /// The trailer of an archive that ends with these bytes, if it has one.
    pub fn at_end(bytes: &[u8]) -> Option<Self> {
        let (_, trailer) = bytes.split_last_chunk::<{ Self::SIZE }>()?;
        let (digest, rest) = trailer.split_first_chunk::<32>()?;
        let (entries, rest) = rest.split_first_chunk::<8>()?;
        let (bytes, end) = rest.split_first_chunk::<8>()?;
        (end == END).then(|| Self {
            digest: TreeDigest(*digest),
            entries: u64::from_le_bytes(*entries),
            bytes: u64::from_le_bytes(*bytes),
        })
    }
}

/// Whether a frame announces a trailer. Archives of today have a [seal](super::seal) for that.
pub fn is_announcement(content: &[u8]) -> bool {
    content == START
}

/// The frame at the end, with the hashes of all files in the order of the archive.
pub fn write(trailer: &Trailer, hashes: &[ContentHash]) -> Vec<u8> {
    let size = |hashes: &[ContentHash]| u32::try_from(hashes.as_flattened().len() + Trailer::SIZE);
    // A tree of more files than a frame can hold the hashes of does without.
    let (hashes, size) = match size(hashes) {
        Ok(size) => (hashes, size),
        Err(_) => (&[][..], Trailer::SIZE as u32),
    };
    let mut frame = skippable(OWN_MAGIC, size).to_vec();
    frame.extend_from_slice(hashes.as_flattened());
    frame.extend_from_slice(&trailer.digest.0);
    frame.extend_from_slice(&trailer.entries.to_le_bytes());
    frame.extend_from_slice(&trailer.bytes.to_le_bytes());
    frame.extend_from_slice(END);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let trailer = Trailer { digest: TreeDigest([7; 32]), entries: 3, bytes: u64::MAX };
        for hashes in [vec![], vec![[1; 32], [2; 32]]] {
            let frame = write(&trailer, &hashes);
            assert_eq!(Trailer::at_end(&frame), Some(trailer));
            assert_eq!(frame.len(), 8 + 32 * hashes.len() + Trailer::SIZE);
            assert_eq!(Trailer::at_end(&frame[..frame.len() - 1]), None);
        }
        assert!(is_announcement(START));
        assert_eq!(Trailer::at_end(b""), None);
    }
}
