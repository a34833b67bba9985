//! A file's content on its way from one archive to another.

use bytes::Bytes;

use super::members::Members;
use crate::error::UnpackError;
use crate::flow::control::{Stage, Stopped};
use crate::hash::{ContentHash, hash, hash_zeros};

/// What was passed on of a file.
pub struct Passed {
    /// Without holes, in bytes.
    pub stored: u64,
    /// Of the whole file.
    pub hash: ContentHash,
}

/// Passes the data of the current member on, which is a file of this size. `parts` are where its data
/// belongs, if it has holes.
pub fn pass<E: From<UnpackError> + From<Stopped>>(
    members: &mut Members<'_, '_>,
    size: u64,
    parts: Option<&[(u64, u64)]>,
    write: &mut dyn FnMut(Bytes) -> Result<(), E>,
) -> Result<Passed, E> {
    let mut hasher = blake3::Hasher::new();
    let (mut at, mut stored) = (0, 0_u64);
    // The parts are in order and within the file, or the member would not be one.
    for (offset, length) in parts.unwrap_or(&[(0, size)]) {
        hash_zeros(&mut hasher, offset - at, members.control(), Stage::Decompress)?;
        let mut left = *length;
        while left > 0 {
            let data = members.data_of(usize::try_from(left).unwrap_or(usize::MAX))?;
            hash(&mut hasher, &data);
            left -= data.len() as u64;
            write(data)?;
        }
        at = offset + length;
        stored += length;
    }
    hash_zeros(&mut hasher, size - at, members.control(), Stage::Decompress)?;
    Ok(Passed { stored, hash: *hasher.finalize().as_bytes() })
}
