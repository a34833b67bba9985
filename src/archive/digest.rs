//! The digest of a tree: a hash over one record for each entry, in the order of an archive.

use rustix::fs::Stat;

use super::snapshot::{ContentHash, TreeDigest};
use super::xattr::{self, Xattr};

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

#[derive(Default)]
pub struct Digester(blake3::Hasher);

impl Digester {
    pub fn update(&mut self, records: &Records) {
        self.0.update(&records.0);
    }

    pub fn finish(&self) -> TreeDigest {
        TreeDigest(*self.0.finalize().as_bytes())
    }
}
