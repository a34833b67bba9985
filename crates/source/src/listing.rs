//! What an import copies, before anything is read.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat};

use super::git_place::Placed;

/// The files of a selection, and where each of them stands in a copy.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each one stands behind the one that holds it. Several of them may have the same path in the copy: what
    /// repositories share is brought together.
    pub directories: Vec<Directory>,
    /// What people should know: entries that are skipped.
    pub notices: Vec<String>,
    /// Files of the copy that have no equal in the project: the configuration of a repository that was moved.
    pub(crate) written: Vec<(PathBuf, Vec<u8>)>,
    /// The repositories that came along.
    pub(crate) repositories: Vec<Placed>,
    /// Where their directories begin.
    pub(crate) repositories_at: usize,
}

impl Listing {
    /// The length of all regular files, in bytes.
    pub fn size(&self) -> u64 {
        let entries = self.directories.iter().flat_map(|directory| &directory.entries);
        let files = entries.filter(|entry| entry.kind == Kind::File);
        files.map(|entry| entry.stamp.size).sum()
    }
}

/// A directory and what is directly in it, but for other directories.
#[derive(Debug)]
pub struct Directory {
    /// Relative to the copy. The first one is empty.
    pub path: PathBuf,
    pub stamp: Stamp,
    /// In the order of their names.
    pub entries: Vec<Entry>,
    pub(crate) from: From,
}

/// Where a directory of a listing is read.
#[derive(Clone, Debug)]
pub(crate) struct From {
    pub root: Arc<OwnedFd>,
    /// Relative to `root`.
    pub path: PathBuf,
    /// Several directories are copied into this place, and the first of two files with a name counts.
    pub is_merged: bool,
}

/// A file or a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub kind: Kind,
    pub stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Symlink,
}

/// What a file system says of an entry. Content has changed only if this has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub device: u64,
    pub inode: u64,
    /// The type and the permissions with setuid, setgid and sticky bits.
    pub mode: u32,
    pub links: u64,
    /// In bytes.
    pub size: u64,
    /// In units of 512 bytes that the content takes on the disk.
    pub blocks: u64,
    /// Seconds since 1970, and nanoseconds on top.
    pub modified: (i64, u32),
    /// Of the last change of content or metadata, in the same unit.
    pub changed: (i64, u32),
}

impl Stamp {
    // The types of these fields differ between architectures.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    pub(crate) fn of(stat: &Stat) -> Self {
        let nanos = |value| u32::try_from(value).unwrap_or(0);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            links: u64::try_from(stat.st_nlink).unwrap_or(u64::MAX),
            // The kernel knows no negative sizes.
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            modified: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        }
    }

    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Whether the content is the same. Blocks are left out because delayed allocation changes them, and links
    /// because another name changes no content.
    pub(crate) fn is_same_content(&self, other: &Self) -> bool {
        (self.device, self.inode, self.mode, self.size, self.modified, self.changed)
            == (other.device, other.inode, other.mode, other.size, other.modified, other.changed)
    }
}
