//! Access control lists of POSIX, as the kernel stores them with a file.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

/// The attribute that has the list, see acl(5).
pub const NAME: &str = "system.posix_acl_access";

/// More than any file system stores, in bytes.
const LONGEST: usize = 64 * 1024;

/// The format that there is.
const VERSION: u32 = 2;

const USER: u16 = 0x02;
const OWN_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;

/// Of the permissions.
const WRITE: u16 = 2;

/// Whom a list lets write, but for the owner and everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    User(u32),
    /// The group of the file.
    OwnGroup,
    Group(u32),
}

/// A tag, permissions, and a number of a user or a group.
#[derive(Debug)]
pub struct List(Vec<(u16, u16, u32)>);

/// The list of a directory. `None` if it has none, or cannot have one.
pub fn of(directory: &OwnedFd) -> Result<Option<List>, Errno> {
    // A descriptor that only stands for a path has no attributes of its own.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut bytes = vec![0; LONGEST];
    match rustix::fs::getxattr(path, NAME, &mut bytes[..]) {
        Ok(length) => List::read(&bytes[..length]).map(Some),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

impl List {
    fn read(bytes: &[u8]) -> Result<Self, Errno> {
        let (version, entries) = bytes.split_first_chunk::<4>().ok_or(Errno::INVAL)?;
        let (entries, rest) = entries.as_chunks::<8>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return Err(Errno::INVAL);
        }
        let entry = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| {
            let (tag, mode) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            (tag, mode, u32::from_le_bytes([e, f, g, h]))
        };
        Ok(Self(entries.iter().map(entry).collect()))
    }

    pub fn writers(&self) -> impl Iterator<Item = Writer> {
        let mask = self.0.iter().find(|(tag, ..)| *tag == MASK).map_or(WRITE, |(_, mode, _)| *mode);
        self.0.iter().filter(move |(_, mode, _)| mode & mask & WRITE != 0).filter_map(
            |(tag, _, id)| match *tag {
                USER => Some(Writer::User(*id)),
                OWN_GROUP => Some(Writer::OwnGroup),
                GROUP => Some(Writer::Group(*id)),
                _ => None,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_no_list() {
        for bytes in [&[][..], &[2, 0, 0], &[1, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert!(List::read(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(List::read(&[2, 0, 0, 0]).unwrap().writers().count(), 0);
    }
}
