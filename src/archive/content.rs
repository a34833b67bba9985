//! A file's content on its way from one archive to another.

use bytes::Bytes;

use super::member::Members;
use super::snapshot::{ContentHash, hash_zeros};
use super::unpack::UnpackError;

/// What was passed on of a file.
pub struct Passed {
    /// Without holes, in bytes.
    pub stored: u64,
    /// Of the whole file, if that was asked for.
    pub hash: Option<ContentHash>,
}

/// What may still be hashed of the holes of all files, in bytes. An archive of nothing but holes would
/// take its time otherwise, for a hash that may never be asked for.
pub struct Holes(u64);

impl Default for Holes {
    fn default() -> Self {
        Self(1 << 30)
    }
}

impl Holes {
    /// Whether a file's holes are few enough to be hashed.
    pub fn admit(&mut self, size: u64, parts: Option<&[(u64, u64)]>) -> bool {
        let Some(parts) = parts else { return true };
        let stored: u64 = parts.iter().map(|(_, length)| length).sum();
        let left = self.0.checked_sub(size - stored);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// Passes the data of the current member on, which is a file of this size. `parts` are where its data
/// belongs, if it has holes, and `hashed` says whether these can be hashed as well.
pub fn pass<E: From<UnpackError>>(
    members: &mut Members<'_, '_>,
    size: u64,
    parts: Option<&[(u64, u64)]>,
    hashed: bool,
    write: &mut dyn FnMut(Bytes) -> Result<(), E>,
) -> Result<Passed, E> {
    let mut hasher = blake3::Hasher::new();
    let (mut at, mut stored) = (0, 0_u64);
    // The parts are in order and within the file, or the member would not be one.
    for (offset, length) in parts.unwrap_or(&[(0, size)]) {
        if hashed {
            hash_zeros(&mut hasher, offset - at);
        }
        let mut left = *length;
        while left > 0 {
            let data = members.data_of(usize::try_from(left).unwrap_or(usize::MAX))?;
            hasher.update(&data);
            left -= data.len() as u64;
            write(data)?;
        }
        at = offset + length;
        stored += length;
    }
    if hashed {
        hash_zeros(&mut hasher, size - at);
    }
    Ok(Passed { stored, hash: hashed.then(|| *hasher.finalize().as_bytes()) })
}
