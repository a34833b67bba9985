//! What a tree held at one moment, small enough to be kept while a pipeline runs.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use rustix::fs::Stat;

use super::control::{Control, Stage, Stopped};
use super::stat::size;

/// A path in 128 bits of its blake3 hash.
pub type PathKey = u128;

pub fn path_key(path: &[u8]) -> PathKey {
    let hash = blake3::hash(path);
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(key)
}

/// A file's content by its blake3 hash.
pub type ContentHash = [u8; 32];

/// What is worth the help of other cores, in bytes.
const LARGE: usize = 256 << 10;

/// Adds content to a hash, on all cores if there is much of it.
pub fn hash(hasher: &mut blake3::Hasher, data: &[u8]) {
    if data.len() < LARGE {
        hasher.update(data);
    } else {
        hasher.update_rayon(data);
    }
}

/// Adds this many zeros, the content of a hole. There may be many, so it can be stopped.
pub fn hash_zeros(
    hasher: &mut blake3::Hasher,
    mut count: u64,
    control: &Control,
    stage: Stage,
) -> Result<(), Stopped> {
    static ZEROS: [u8; 4 << 20] = [0; 4 << 20];
    while count > 0 {
        control.check()?;
        let _working = control.enter(stage);
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
        hash(hasher, &ZEROS[..now]);
        count -= now as u64;
    }
    Ok(())
}

/// A file's state in one number: if its content, permissions or attributes may have changed, this has.
///
/// The time of the last change of status is part of it, which no program can set: a file that was
/// replaced by another one of the same size and time is noticed.
pub fn stamp(path: PathKey, stat: &Stat) -> u64 {
    let numbers = [
        size(stat),
        stat.st_mtime.cast_unsigned(),
        stat.st_mtime_nsec,
        stat.st_ctime.cast_unsigned(),
        stat.st_ctime_nsec,
    ];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&path.to_le_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut stamp = [0; 8];
    stamp.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(stamp)
}

/// The regular files of a tree that have no attributes of their own: about 80 bytes of memory each.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    files: HashMap<PathKey, (u64, ContentHash)>,
}

impl Snapshot {
    pub(super) fn add(&mut self, path: PathKey, stamp: u64, content: ContentHash) {
        self.files.insert(path, (stamp, content));
    }

    /// Takes note that something about a file has changed that is not its content.
    pub(super) fn restamp(&mut self, path: PathKey, stamp: u64) {
        if let Some((known, _)) = self.files.get_mut(&path) {
            *known = stamp;
        }
    }

    /// The content of a file, unless the file may have changed.
    pub(super) fn content(&self, path: PathKey, stamp: u64) -> Option<ContentHash> {
        let (known, content) = self.files.get(&path)?;
        (*known == stamp).then_some(*content)
    }
}

/// A hash over all of a tree that an archive keeps, but times and owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeDigest(pub [u8; 32]);

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl FromStr for TreeDigest {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, blake3::HexError> {
        Ok(Self(*blake3::Hash::from_hex(text)?.as_bytes()))
    }
}
