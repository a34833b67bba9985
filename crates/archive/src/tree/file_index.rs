//! What a tree held at one moment, small enough to be kept while a pipeline runs.

use std::collections::HashMap;

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use super::stat::size;
use crate::hash::{ContentHash, TreeDigest};

/// A path in 128 bits of its blake3 hash.
pub type PathKey = u128;

pub fn path_key(path: &[u8]) -> PathKey {
    let hash = blake3::hash(path);
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(key)
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<Entry>", try_from = "Vec<Entry>")]
pub struct FileIndex {
    files: HashMap<PathKey, (u64, ContentHash)>,
}

impl FileIndex {
    pub(crate) fn add(&mut self, path: PathKey, stamp: u64, content: ContentHash) {
        self.files.insert(path, (stamp, content));
    }

    /// Takes note that something about a file has changed that is not its content.
    pub(crate) fn restamp(&mut self, path: PathKey, stamp: u64) {
        if let Some((known, _)) = self.files.get_mut(&path) {
            *known = stamp;
        }
    }

    /// The content of a file, unless the file may have changed.
    pub(crate) fn content(&self, path: PathKey, stamp: u64) -> Option<ContentHash> {
        let (known, content) = self.files.get(&path)?;
        (*known == stamp).then_some(*content)
    }
}

/// A file of a [`FileIndex`] as it is serialized: the key of its path and the hash of its content in
/// hexadecimal digits.
#[derive(Serialize, Deserialize)]
struct Entry(String, u64, TreeDigest);

impl From<FileIndex> for Vec<Entry> {
    fn from(index: FileIndex) -> Self {
        let entry =
            |(path, (stamp, content))| Entry(format!("{path:032x}"), stamp, TreeDigest(content));
        index.files.into_iter().map(entry).collect()
    }
}

impl TryFrom<Vec<Entry>> for FileIndex {
    type Error = std::num::ParseIntError;

    fn try_from(entries: Vec<Entry>) -> Result<Self, Self::Error> {
        let file = |Entry(path, stamp, content): Entry| {
            Ok((PathKey::from_str_radix(&path, 16)?, (stamp, content.0)))
        };
        Ok(Self { files: entries.into_iter().map(file).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_survives_being_serialized() {
        let mut index = FileIndex::default();
        for number in 0..100 {
            let path = path_key(format!("file-{number}").as_bytes());
            index.add(path, u64::MAX - number, *blake3::hash(&number.to_le_bytes()).as_bytes());
        }
        let text = serde_json::to_string(&index).unwrap();
        assert_eq!(serde_json::from_str::<FileIndex>(&text).unwrap(), index);
        for wrong in [r#"[["x",1,""]]"#, r#"[["0",1,"00"]]"#, "{}"] {
            assert!(serde_json::from_str::<FileIndex>(wrong).is_err(), "{wrong}");
        }
    }
}
