//! Extended attributes.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::buffer::spare_capacity;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Name and value.
pub type Xattr = (CString, Vec<u8>);

/// Reads attributes, until a file system turns out to have none.
#[derive(Default)]
pub struct Reader {
    unsupported: AtomicBool,
}

/// What a user's own attributes start with.
const USER: &[u8] = b"user.";

impl Reader {
    /// The attributes of something open that an archive keeps, by name: those of users, and as root
    /// also capabilities and trusted ones. The others describe the machine, not the tree.
    pub fn read(&self, file: BorrowedFd<'_>) -> Result<Vec<Xattr>, Errno> {
        self.collect(
            |names| flistxattr(file, spare_capacity(names)),
            |name, value| fgetxattr(file, name, spare_capacity(value)),
        )
    }

    /// The same of a symbolic link, which cannot be opened. Only root can give it any.
    pub fn read_link(&self, directory: &OwnedFd, name: &CStr) -> Result<Vec<Xattr>, Errno> {
        if !geteuid().is_root() {
            return Ok(Vec::new());
        }
        let path = through(directory, name);
        self.collect(
            |names| llistxattr(&path, spare_capacity(names)),
            |name, value| lgetxattr(&path, name, spare_capacity(value)),
        )
    }

    fn collect(
        &self,
        list: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
        get: impl Fn(&CStr, &mut Vec<u8>) -> Result<usize, Errno>,
    ) -> Result<Vec<Xattr>, Errno> {
        if self.unsupported.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let mut names = Vec::with_capacity(512);
        loop {
            match list(&mut names) {
                Ok(0) => return Ok(Vec::new()),
                Ok(_) => break,
                Err(Errno::OPNOTSUPP) => {
                    self.unsupported.store(true, Ordering::Relaxed);
                    return Ok(Vec::new());
                }
                // It has vanished, or must not be asked.
                Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => return Ok(Vec::new()),
                Err(Errno::RANGE) => names.reserve(names.capacity() * 4),
                Err(errno) => return Err(errno),
            }
        }
        let mut found = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
            let Ok(name) = CString::new(name) else { continue };
            let mut value = Vec::with_capacity(256);
            loop {
                match get(&name, &mut value) {
                    Ok(_) => break found.push((name, value)),
                    Err(Errno::RANGE) => value.reserve(value.capacity() * 4),
                    Err(Errno::NODATA | Errno::NOENT | Errno::ACCESS | Errno::PERM) => break,
                    Err(errno) => return Err(errno),
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// What memory each attribute takes beyond its name and value, in bytes, more or less.
const OVERHEAD: u64 = 64;

/// What one entry's attributes count as, in bytes: each of them is kept, hashed and set by a call of its
/// own.
pub fn cost(xattrs: &[Xattr]) -> u64 {
    let cost = |(name, value): &Xattr| (name.count_bytes() + value.len()) as u64 + OVERHEAD;
    xattrs.iter().map(cost).sum()
}

/// Sets an attribute of a symbolic link.
pub fn set_of_link(directory: &OwnedFd, name: &CStr, (key, value): &Xattr) -> Result<(), Errno> {
    lsetxattr(through(directory, name), key, value, XattrFlags::empty())
}

pub fn is_users(name: &CStr) -> bool {
    name.to_bytes().starts_with(USER)
}

/// Whether an archive keeps an attribute of this name.
pub fn is_kept(name: &[u8]) -> bool {
    let privileged = name == b"security.capability" || name.starts_with(b"trusted.");
    // Overlay file systems keep their own books there.
    let books = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    !books && (name.starts_with(USER) || (privileged && geteuid().is_root()))
}

/// A path to an entry of an open directory: there are no calls for attributes that take both.
fn through(directory: &OwnedFd, name: &CStr) -> CString {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    // It is made of two strings without NUL characters.
    CString::new(path).unwrap_or_default()
}
