//! The file with an index.
//!
//! All numbers are little-endian. A time is an `i64` of seconds since 1970 and a `u32` of nanoseconds.
//!
//! ```text
//! "ci source index\n", u32 version, boot [36], digest [32]
//! root: u64 device, own
//! for each directory, in the order of their paths:
//!     u32 length, path
//!     u8  1 if all its names are here, apart from directories
//!     u64 device of the project's directory
//!     own
//!     u32 length in bytes of its entries
//!     for each entry, in the order of their names:
//!         u16 length, name
//!         source: u64 inode, u64 size, u32 mode, time of modification, time of change
//!         own
//! BLAKE3 of everything before [32]
//!
//! own: u64 inode, time of change, u32 mode, u32 user, u32 group
//! ```

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::listing::Stamp;
use crate::made::Own;

const MAGIC: &[u8; 16] = b"ci source index\n";
const VERSION: u32 = 1;
const HASH: usize = 32;

/// An index that was read.
pub struct Index<'a> {
    pub root: Root,
    pub directories: HashMap<&'a Path, Block<'a>>,
}

/// What an index belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub boot: [u8; 36],
    pub digest: [u8; 32],
    /// Of the tree.
    pub device: u64,
    /// Of the tree's own directory.
    pub own: Own,
}

/// What an index has of a directory.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// Whether all names in it are known, apart from those of directories.
    pub is_complete: bool,
    /// Of the project's directory.
    pub device: u64,
    pub own: Own,
    entries: &'a [u8],
    /// The block as it is in the file.
    pub raw: &'a [u8],
}

/// What an index has of a file or a link.
pub struct Item<'a> {
    pub name: &'a OsStr,
    pub source: Identity,
    pub own: Own,
}

/// What tells one state of a file of the project from any other. Its device is that of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub inode: u64,
    pub size: u64,
    pub mode: u32,
    pub modified: (i64, u32),
    pub changed: (i64, u32),
}

impl Identity {
    pub fn of(stamp: &Stamp) -> Self {
        let Stamp { inode, size, mode, modified, changed, .. } = *stamp;
        Self { inode, size, mode, modified, changed }
    }
}

impl<'a> Index<'a> {
    /// `None` if these bytes are no whole index of this version.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if blake3::hash(content).as_bytes() != hash {
            return None;
        }
        let mut rest = Reader(content);
        if rest.take(MAGIC.len())? != MAGIC || rest.number()? != VERSION {
            return None;
        }
        let (boot, digest) = (rest.array()?, rest.array()?);
        let root = Root { boot, digest, device: rest.long()?, own: rest.own()? };
        let mut directories = HashMap::new();
        while !rest.0.is_empty() {
            let before = rest.0;
            let length = usize::try_from(rest.number()?).ok()?;
            let path = Path::new(OsStr::from_bytes(rest.take(length)?));
            let is_complete = rest.array::<1>()? == [1];
            let (device, own) = (rest.long()?, rest.own()?);
            let length = usize::try_from(rest.number()?).ok()?;
            let entries = rest.take(length)?;
            let raw = &before[..before.len() - rest.0.len()];
            directories.insert(path, Block { is_complete, device, own, entries, raw });
        }
        Some(Self { root, directories })
    }
}

impl<'a> Block<'a> {
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let mut rest = Reader(self.entries);
        std::iter::from_fn(move || rest.item())
    }
}

/// Begins an index.
pub fn begin(root: &Root) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(root.boot);
    bytes.extend(root.digest);
    bytes.extend(root.device.to_le_bytes());
    put_own(&mut bytes, &root.own);
    bytes
}

/// Adds the hash that ends an index.
pub fn end(bytes: &mut Vec<u8>) {
    let hash = blake3::hash(bytes);
    bytes.extend(hash.as_bytes());
}

/// Makes the block of a directory. Its items come in the order of their names. `None` if a path is too long.
pub fn block<'a>(
    path: &Path,
    is_complete: bool,
    device: u64,
    own: &Own,
    items: impl Iterator<Item = Item<'a>>,
) -> Option<Vec<u8>> {
    let path = path.as_os_str().as_bytes();
    let mut bytes = u32::try_from(path.len()).ok()?.to_le_bytes().to_vec();
    bytes.extend(path);
    bytes.push(u8::from(is_complete));
    bytes.extend(device.to_le_bytes());
    put_own(&mut bytes, own);
    let at = bytes.len();
    bytes.extend([0; 4]);
    for Item { name, source, own } in items {
        bytes.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(source.inode.to_le_bytes());
        bytes.extend(source.size.to_le_bytes());
        bytes.extend(source.mode.to_le_bytes());
        put_time(&mut bytes, source.modified);
        put_time(&mut bytes, source.changed);
        put_own(&mut bytes, &own);
    }
    let length = u32::try_from(bytes.len() - at - 4).ok()?;
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    Some(bytes)
}

fn put_own(bytes: &mut Vec<u8>, own: &Own) {
    bytes.extend(own.inode.to_le_bytes());
    put_time(bytes, own.changed);
    for number in [own.mode, own.user, own.group] {
        bytes.extend(number.to_le_bytes());
    }
}

fn put_time(bytes: &mut Vec<u8>, time: (i64, u32)) {
    bytes.extend(time.0.to_le_bytes());
    bytes.extend(time.1.to_le_bytes());
}

/// What is left of an index.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<(i64, u32)> {
        Some((i64::from_le_bytes(self.array()?), self.number()?))
    }

    fn own(&mut self) -> Option<Own> {
        let (inode, changed) = (self.long()?, self.time()?);
        let (mode, user, group) = (self.number()?, self.number()?, self.number()?);
        Some(Own { inode, changed, mode, user, group })
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let length = u16::from_le_bytes(self.array()?);
        let name = OsStr::from_bytes(self.take(usize::from(length))?);
        let (inode, size, mode) = (self.long()?, self.long()?, self.number()?);
        let (modified, changed) = (self.time()?, self.time()?);
        let source = Identity { inode, size, mode, modified, changed };
        Some(Item { name, source, own: self.own()? })
    }
}
