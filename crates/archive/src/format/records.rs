//! What PAX headers say about members, record by record.

use std::collections::HashSet;

use super::extents::Extents;
use super::header::{MAX_EXTENSION, time};
use super::pax;
use crate::error::UnpackError;
use crate::tree::stat::Time;
use crate::tree::xattr::{Xattr, is_kept};

/// The records that matter, of all headers in front of a member.
#[derive(Default)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<Xattr>,
    pub sparse: Sparse,
}

/// A sparse file in one of the three formats that use PAX records.
#[derive(Default)]
pub struct Sparse {
    pub version_1: bool,
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub extents: Extents,
    pub listed: bool,
    pub offset: Option<u64>,
}

impl Records {
    /// Takes all records of a header; later ones count.
    pub fn take_all(&mut self, data: &[u8]) -> Result<(), UnpackError> {
        for record in pax::records(data) {
            let (key, value) = record.ok_or_else(|| UnpackError::malformed("a PAX header"))?;
            self.take(key, value)?;
        }
        Ok(())
    }

    /// The same of a header for all members to come.
    pub fn take_all_global(&mut self, data: &[u8]) -> Result<(), UnpackError> {
        let before = std::mem::take(&mut self.xattrs);
        self.take_all(data)?;
        self.xattrs = merged(&before, std::mem::take(&mut self.xattrs))?;
        // They would be copied for every member.
        if self.sparse.is_any() {
            return Err(UnpackError::malformed("a PAX header for all members"));
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), UnpackError> {
        let number =
            || pax::number(value).ok_or_else(|| UnpackError::malformed("a number in a PAX header"));
        let small = || number().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(small()?),
            b"gid" => self.gid = Some(small()?),
            b"mtime" => {
                self.mtime = Some(
                    time(value).ok_or_else(|| UnpackError::malformed("a time in a PAX header"))?,
                );
            }
            b"GNU.sparse.major" => self.sparse.version_1 = value == b"1",
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = Some(number()?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take();
                let offset =
                    offset.ok_or_else(|| UnpackError::malformed("the list of a sparse file"))?;
                self.sparse.extents.push((offset, number()?));
                self.sparse.listed = true;
            }
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|byte| *byte == b',').map(pax::number).collect();
                let numbers =
                    numbers.ok_or_else(|| UnpackError::malformed("the list of a sparse file"))?;
                self.sparse.extents =
                    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                self.sparse.listed = true;
            }
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                    && is_kept(name)
                    && let Ok(name) = std::ffi::CString::new(name)
                {
                    self.xattrs.push((name, value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    fn is_any(&self) -> bool {
        let Self { version_1, name, size, extents, listed, offset } = self;
        *version_1
            || *listed
            || name.is_some()
            || size.is_some()
            || offset.is_some()
            || !extents.is_empty()
    }
}

/// What names of one entry's attributes take together, in bytes: Linux lists no more.
const MAX_NAMES: usize = 64 << 10;

/// The attributes of an entry of two headers, in the order of the archive. The last one of a name counts.
pub fn merged(first: &[Xattr], mut second: Vec<Xattr>) -> Result<Vec<Xattr>, UnpackError> {
    if first.len() + second.len() > 1 {
        let all = first.iter().cloned().chain(second).rev();
        let mut known = HashSet::new();
        second = all.filter(|(name, _)| known.insert(name.clone())).collect();
        second.reverse();
    } else {
        second.extend(first.iter().cloned());
    }
    let names: usize = second.iter().map(|(name, _)| name.count_bytes() + 1).sum();
    let values: usize = second.iter().map(|(_, value)| value.len()).sum();
    if names > MAX_NAMES || (names + values) as u64 > MAX_EXTENSION {
        return Err(UnpackError::Unsupported(format!(
            "an entry has attributes with names of {names} bytes and values of {values} bytes, pack it \
             again with fewer"
        )));
    }
    Ok(second)
}

/// The comment in the data of a PAX header that has nothing else.
pub fn sole_comment(data: &[u8]) -> Option<&[u8]> {
    let mut records = pax::records(data);
    match (records.next(), records.next()) {
        (Some(Some((b"comment", comment))), None) => Some(comment),
        _ => None,
    }
}
