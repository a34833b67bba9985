//! The digest of a tree: a hash over one record for each entry, in the order of an archive.

use rustix::fs::Stat;

use super::xattr::{self, Xattr};
use crate::hash::{ContentHash, TreeDigest};

/// What goes into the digest of one entry, but the content of a file.
pub struct Record(Vec<u8>);

impl Record {
    pub fn directory(stat: &Stat, path: &[u8], xattrs: &[Xattr]) -> Self {
        let mut record = Self::new(b'd', stat.st_mode, path, b"");
        record.attributes(xattrs);
        record
    }

    /// The attributes of a link are none of a user's.
    pub fn symlink(stat: &Stat, path: &[u8], target: &[u8]) -> Self {
        Self::new(b'l', stat.st_mode, path, target)
    }

    /// `first` is another name of the same file.
    pub fn hardlink(stat: &Stat, path: &[u8], first: &[u8]) -> Self {
        Self::new(b'h', stat.st_mode, path, first)
    }

    /// Attributes and content are still to come.
    pub fn file(stat: &Stat, path: &[u8], size: u64) -> Self {
        Self::new(b'f', stat.st_mode, path, &size.to_le_bytes())
    }

    /// `kind` is one of `dlhf`, and `detail` what the functions above make of it.
    pub fn new(kind: u8, mode: u32, path: &[u8], detail: &[u8]) -> Self {
        let mut record = Vec::with_capacity(path.len() + detail.len() + 32);
        record.push(kind);
        record.extend_from_slice(&(mode & 0o7777).to_le_bytes());
        for text in [path, detail] {
            record.extend_from_slice(&(text.len() as u64).to_le_bytes());
            record.extend_from_slice(text);
        }
        Self(record)
    }

    /// Those of users; others differ from machine to machine.
    pub fn attributes(&mut self, xattrs: &[Xattr]) {
        for (name, value) in xattrs.iter().filter(|(name, _)| xattr::is_users(name)) {
            self.0.extend_from_slice(name.to_bytes_with_nul());
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
            self.0.extend_from_slice(value);
        }
    }
}

/// Several records in a row.
#[derive(Debug, Default)]
pub struct Records(Vec<u8>);

impl Records {
    pub fn add(&mut self, record: &Record, content: Option<&ContentHash>) {
        self.0.extend_from_slice(&(record.0.len() as u64).to_le_bytes());
        self.0.extend_from_slice(&record.0);
        self.0.extend_from_slice(content.map_or(&[], ContentHash::as_slice));
    }
}

/// The digest of a tree, computed record by record.
#[derive(Default)]
pub struct Digester(SmallPieces);

impl Digester {
    pub fn add(&mut self, record: &Record, content: Option<&ContentHash>) {
        let Record(record) = record;
        self.0.update(&(record.len() as u64).to_le_bytes());
        self.0.update(record);
        self.0.update(content.map_or(&[], ContentHash::as_slice));
    }

    pub fn update(&mut self, records: &Records) {
        self.0.update(&records.0);
    }

    pub fn finish(&self) -> TreeDigest {
        TreeDigest(self.0.finish())
    }
}

/// A hash over many small pieces. They are collected first: blake3 hashes many kilobytes at once several
/// times as fast as the same bytes in pieces of a few hundred.
#[derive(Default)]
pub struct SmallPieces {
    hasher: blake3::Hasher,
    collected: Vec<u8>,
}

impl SmallPieces {
    /// How many bytes are collected before they are hashed.
    const COLLECTED: usize = 64 << 10;

    pub fn update(&mut self, piece: &[u8]) {
        if self.collected.len() + piece.len() > Self::COLLECTED {
            self.hasher.update(&self.collected);
            self.collected.clear();
        }
        if piece.len() >= Self::COLLECTED {
            self.hasher.update(piece);
        } else {
            self.collected.extend_from_slice(piece);
        }
    }

    pub fn finish(&self) -> [u8; 32] {
        *self.hasher.clone().update(&self.collected).finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_are_hashed_in_their_order() {
        let bytes: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
        let most = SmallPieces::COLLECTED;
        for size in [1, 7, 512, most - 1, most, most + 1, 3 * most, bytes.len()] {
            let mut hash = SmallPieces::default();
            // A small piece between two others.
            for piece in bytes.chunks(size + 1) {
                let (first, second) = piece.split_at(size.min(piece.len()));
                hash.update(first);
                hash.update(second);
            }
            assert_eq!(hash.finish(), *blake3::hash(&bytes).as_bytes(), "{size}");
        }
        assert_eq!(SmallPieces::default().finish(), *blake3::hash(b"").as_bytes());
    }
}
