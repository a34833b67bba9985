//! The hashes of contents and of trees.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::flow::control::{Control, Stage, Stopped};

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
    // On the heap, where zeros take no memory of the program's file.
    static ZEROS: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; 4 << 20]);
    while count > 0 {
        control.check()?;
        let _working = control.enter(stage);
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
        hash(hasher, &ZEROS[..now]);
        count -= now as u64;
    }
    Ok(())
}

/// A hash over all of a tree that an archive keeps, but times and owners. It is serialized as hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

impl From<TreeDigest> for String {
    fn from(digest: TreeDigest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for TreeDigest {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, blake3::HexError> {
        text.parse()
    }
}
