//! Which files git tracks: the names in a repository's index.
//!
//! A library for this brings thirty packages along, and running `git` would need git and trust in the
//! repository's configuration. The format is <https://git-scm.com/docs/index-format>. Of a split index the names
//! of both parts count, so that a file that was removed from the index since the split may count as tracked.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::git_file;
use super::repository::Repository;

/// The fields of an entry in front of its hash, in bytes.
const FIELDS: usize = 40;

/// The paths of tracked files, relative to the work tree.
#[derive(Debug, Default)]
pub struct Tracked {
    /// All names, one behind the other.
    bytes: Vec<u8>,
    /// Where each name begins and ends, in the order of the names.
    names: Vec<(usize, usize)>,
}

/// Most bytes of an index: some millions of files.
const LARGEST: u64 = 1 << 30;

impl Tracked {
    /// Reads the index of a work tree. A repository without commits has none.
    pub fn read(repository: &Repository) -> io::Result<Self> {
        let mut tracked = Self::default();
        let hash = repository.hash_length();
        let index = match git_file::read(&repository.git.join("index"), LARGEST) {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(tracked),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is not an index of git");
        if let Some(shared) = tracked.add(&index, hash).ok_or_else(damaged)? {
            let shared = repository.git.join(format!("sharedindex.{shared}"));
            let shared = git_file::read(&shared, LARGEST)?;
            tracked.add(&shared, hash).ok_or_else(damaged)?;
        }
        let bytes = &tracked.bytes;
        tracked.names.sort_by(|one, other| bytes[one.0..one.1].cmp(&bytes[other.0..other.1]));
        Ok(tracked)
    }

    /// Whether there is an entry of this name: a file, a link or a submodule.
    pub fn contains(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        self.names.binary_search_by(|name| self.bytes[name.0..name.1].cmp(path)).is_ok()
    }

    /// Whether there is an entry below this directory.
    pub fn contains_below(&self, directory: &Path) -> bool {
        let mut prefix = directory.as_os_str().as_bytes().to_vec();
        prefix.push(b'/');
        let at = self.names.partition_point(|name| self.bytes[name.0..name.1] < *prefix);
        self.names.get(at).is_some_and(|name| self.bytes[name.0..name.1].starts_with(&prefix))
    }

    /// Adds the names of an index, and returns the hash of the shared one that it is based on.
    fn add(&mut self, index: &[u8], hash: usize) -> Option<Option<String>> {
        // The hash of everything before it is the end. Some repositories leave it zero, so it proves nothing.
        let mut rest = Reader(index.get(..index.len().checked_sub(hash)?)?);
        if rest.take(4)? != b"DIRC" {
            return None;
        }
        let version = rest.number()?;
        if !(2..=4).contains(&version) {
            return None;
        }
        let count = rest.number()?;
        let mut previous = Vec::new();
        for _ in 0..count {
            self.entry(&mut rest, hash, version, &mut previous)?;
        }
        while !rest.0.is_empty() {
            let signature = rest.take(4)?;
            let length = usize::try_from(rest.number()?).ok()?;
            let content = rest.take(length)?;
            if signature == b"link" {
                let base = content.get(..hash)?;
                let is_shared = base.iter().any(|byte| *byte != 0);
                return Some(
                    is_shared.then(|| base.iter().map(|byte| format!("{byte:02x}")).collect()),
                );
            }
        }
        Some(None)
    }

    fn entry(
        &mut self,
        rest: &mut Reader<'_>,
        hash: usize,
        version: u32,
        previous: &mut Vec<u8>,
    ) -> Option<()> {
        let before = rest.0.len();
        rest.take(FIELDS + hash)?;
        let flags = rest.short()?;
        if version >= 3 && flags & 0x4000 != 0 {
            rest.take(2)?;
        }
        if version == 4 {
            let dropped = usize::try_from(rest.varint()?).ok()?;
            previous.truncate(previous.len().checked_sub(dropped)?);
        } else {
            previous.clear();
        }
        let length = rest.0.iter().position(|byte| *byte == 0)?;
        previous.extend_from_slice(rest.take(length)?);
        if version == 4 {
            rest.take(1)?;
        } else {
            // Zeros up to a multiple of eight, at least one.
            let used = before - rest.0.len();
            rest.take(8 - used % 8)?;
        }
        // An entry of a split index that replaces one of the shared index has no name.
        if !previous.is_empty() {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(previous);
            self.names.push((start, self.bytes.len()));
        }
        Some(())
    }
}

/// What is left of an index.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// As offsets of objects are written in packs.
    fn varint(&mut self) -> Option<u64> {
        let mut byte = self.take(1)?[0];
        let mut value = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            value = value.checked_add(1)?.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        }
        Some(value)
    }
}
