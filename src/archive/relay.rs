//! From an archive to a plain one, for somebody else to unpack.
//!
//! It is for trees that this process has no directory of. What is passed on obeys the same rules as
//! what [`unpack`](super::unpack) makes, so whoever unpacks it needs to know none of them.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::content::{Holes, pass};
use super::control::{Control, Stage};
use super::decompress::stream;
use super::digest::{Digester, Record, Records};
use super::extents;
use super::header::{self, BLOCK, Entry, Kind};
use super::member::{Member, MemberKind, Members};
use super::notices::Notices;
use super::pack::Sink;
use super::path::{below_root, goes_up, shown, split};
use super::place::{Taken, refused};
use super::policy::outside_by_way;
use super::snapshot::{ContentHash, PathKey, path_key};
use super::stat::{Meta, Time};
use super::trailer::Trailer;
use super::unpack::{Source, UnpackError, Unpacked, added, check};
use super::xattr::Xattr;
use super::{Compression, OutsideLinks, UnpackOptions};

/// The permissions of a directory that the archive does not describe.
const IMPLIED: u32 = 0o755;

/// What is handed on at once, in bytes, unless it is in one piece already.
const CHUNK: usize = 256 << 10;

/// Checks an archive and hands it on as an uncompressed tar.
///
/// After an error a part has been handed on, which is to be thrown away.
pub fn relay(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Unpacked, UnpackError> {
    stream(source, compression, options, control, |content| {
        let mut members = Members::new(content);
        let mut relay = Relay::new(sink, options, control);
        while let Some(member) = members.next()? {
            relay.add(member, &mut members)?;
        }
        let relayed = relay.finish(members.trailer().map(|(trailer, _)| trailer))?;
        Ok(Unpacked { compressed_bytes: content.read(), ..relayed })
    })
}

struct Relay<'a> {
    out: Plain<'a>,
    options: &'a UnpackOptions,
    taken: HashMap<PathKey, Taken>,
    /// Directories with something in them.
    filled: HashSet<PathKey>,
    /// Where symbolic links lead.
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// Links that only all of the links can tell the way of.
    upward: Vec<Vec<u8>>,
    digester: Digester,
    /// Whether all of the content is part of the digest.
    is_digested: bool,
    holes: Holes,
    header: Vec<u8>,
    notices: Notices,
    relayed: Unpacked,
}

impl<'a> Relay<'a> {
    fn new(sink: &'a mut dyn Sink, options: &'a UnpackOptions, control: &'a Control) -> Self {
        Self {
            out: Plain { sink, control, buffer: Vec::with_capacity(CHUNK) },
            options,
            taken: HashMap::new(),
            filled: HashSet::new(),
            links: HashMap::new(),
            upward: Vec::new(),
            digester: Digester::default(),
            is_digested: true,
            holes: Holes::default(),
            header: Vec::new(),
            notices: Notices::default(),
            relayed: Unpacked::default(),
        }
    }

    fn add(&mut self, member: Member, members: &mut Members<'_, '_>) -> Result<(), UnpackError> {
        let path = check(&member, self.options)?;
        let Member { kind, meta, xattrs, .. } = member;
        if path.is_empty() {
            self.record(b'd', &path, b"", &meta, &xattrs, None);
            return self.header(&path, Kind::Directory, meta, &xattrs);
        }
        if matches!(kind, MemberKind::Fifo) {
            self.notices.add(format!("`{}` is a pipe and was left out", shown(&path)));
            return Ok(());
        }
        self.above(&path, meta.mtime)?;
        match self.taken(&path) {
            Some(Taken::Directory) if matches!(kind, MemberKind::Directory) => {
                return self.header(&path, Kind::Directory, meta, &xattrs);
            }
            Some(Taken::Directory) if self.filled.contains(&path_key(&path)) => {
                let reason = "it takes the place of a directory that is not empty";
                return Err(refused(&path, reason));
            }
            // The last one of a name counts.
            Some(Taken::Link) => drop(self.links.remove(&path)),
            Some(Taken::File | Taken::Directory) | None => {}
        }
        match kind {
            MemberKind::Directory => {
                self.take(&path, Taken::Directory)?;
                self.header(&path, Kind::Directory, meta, &xattrs)?;
                self.record(b'd', &path, b"", &meta, &xattrs, None);
            }
            MemberKind::Symlink(target) => {
                self.take(&path, Taken::Link)?;
                self.header(&path, Kind::Symlink(&target), meta, &xattrs)?;
                self.record(b'l', &path, &target, &meta, &[], None);
                if goes_up(&target) {
                    self.upward.push(path.clone());
                }
                self.links.insert(path, target);
            }
            MemberKind::Hardlink(target) => {
                let target = below_root(&target).map_err(|reason| refused(&path, reason))?;
                if self.taken(&target) != Some(Taken::File) {
                    let target = shown(&target);
                    let reason = format!("it is a link to `{target}`, which is no file before it");
                    return Err(refused(&path, reason));
                }
                self.take(&path, Taken::File)?;
                self.header(&path, Kind::Hardlink(&target), meta, &[])?;
                self.record(b'h', &path, &target, &meta, &[], None);
            }
            MemberKind::File(size, parts) => {
                self.relayed.bytes = added(self.relayed.bytes, size, self.options)?;
                self.take(&path, Taken::File)?;
                match &parts {
                    None => self.header(&path, Kind::File(size), meta, &xattrs)?,
                    Some(parts) => {
                        let list = extents::encode(parts, size);
                        let kind = Kind::Sparse(size, parts, list.len() as u64);
                        self.header(&path, kind, meta, &xattrs)?;
                        self.out.write(&list)?;
                    }
                }
                let hashed = self.holes.admit(size, parts.as_deref());
                let mut write = |data| self.out.hand_on(data);
                let passed = pass(members, size, parts.as_deref(), hashed, &mut write)?;
                let padding = passed.stored.next_multiple_of(BLOCK as u64) - passed.stored;
                self.out.write(&[0; BLOCK][..padding as usize])?;
                self.is_digested &= hashed;
                let size = size.to_le_bytes();
                self.record(b'f', &path, &size, &meta, &xattrs, passed.hash.as_ref());
            }
            MemberKind::Fifo | MemberKind::Device => return Err(refused(&path, "it is a device")),
        }
        self.relayed.entries += 1;
        Ok(())
    }

    fn taken(&self, path: &[u8]) -> Option<Taken> {
        self.taken.get(&path_key(path)).copied()
    }

    fn take(&mut self, path: &[u8], by: Taken) -> Result<(), UnpackError> {
        let limit = self.options.limits.entries;
        if self.taken.insert(path_key(path), by).is_none() && self.taken.len() as u64 > limit {
            return Err(UnpackError::Limit(format!(
                "it holds more than {limit} entries, allow more with `cache_max_entries`"
            )));
        }
        Ok(())
    }

    /// Makes sure that there are directories all the way down to a path.
    fn above(&mut self, path: &[u8], mtime: Time) -> Result<(), UnpackError> {
        let mut missing = Vec::new();
        let mut at = path;
        while let Some((parent, _)) = split(at).filter(|(parent, _)| !parent.is_empty()) {
            let is_known = !self.filled.insert(path_key(parent));
            let what = match self.taken(parent) {
                Some(Taken::File) => "a file",
                Some(Taken::Link) => "a link",
                Some(Taken::Directory) if is_known => break,
                Some(Taken::Directory) => {
                    at = parent;
                    continue;
                }
                None => {
                    missing.push(parent);
                    at = parent;
                    continue;
                }
            };
            let reason = format!("something is to be put into it, and it is {what}");
            return Err(refused(parent, reason));
        }
        for path in missing.into_iter().rev() {
            self.take(path, Taken::Directory)?;
            let meta = Meta { mode: IMPLIED, uid: 0, gid: 0, mtime };
            self.header(path, Kind::Directory, meta, &[])?;
        }
        Ok(())
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: Kind<'_>,
        meta: Meta,
        xattrs: &[Xattr],
    ) -> Result<(), UnpackError> {
        self.header.clear();
        header::write(&Entry { path, kind, meta, xattrs }, &mut self.header);
        self.out.write(&self.header)
    }

    /// What the tree's digest has of an entry.
    fn record(
        &mut self,
        kind: u8,
        path: &[u8],
        detail: &[u8],
        meta: &Meta,
        xattrs: &[Xattr],
        content: Option<&ContentHash>,
    ) {
        let mut record = Record::new(kind, meta.mode, path, detail);
        record.attributes(xattrs);
        let mut records = Records::default();
        records.add(&record, content);
        self.digester.update(&records);
    }

    fn finish(mut self, trailer: Option<Trailer>) -> Result<Unpacked, UnpackError> {
        if self.options.outside_links == OutsideLinks::Refuse {
            for path in &self.upward {
                if let Some(reason) = outside_by_way(&self.links, path) {
                    return Err(refused(path, reason));
                }
            }
        }
        let Unpacked { entries, bytes, .. } = self.relayed;
        let found = Trailer { digest: self.digester.finish(), entries, bytes };
        if self.is_digested && trailer.is_some_and(|trailer| trailer != found) {
            return Err(UnpackError::Corrupt("its content is not what its end says".to_owned()));
        }
        self.relayed.trailer = trailer;
        let mut end = Vec::new();
        header::end(&mut end);
        self.out.write(&end)?;
        self.out.flush()?;
        self.relayed.notices = self.notices.into_vec();
        Ok(self.relayed)
    }
}

/// The archive that is handed on.
struct Plain<'a> {
    sink: &'a mut dyn Sink,
    control: &'a Control,
    buffer: Vec<u8>,
}

impl Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn hand_on(&mut self, bytes: Bytes) -> Result<(), UnpackError> {
        if bytes.len() < CHUNK {
            return self.write(&bytes);
        }
        self.flush()?;
        self.send(bytes)
    }

    fn flush(&mut self) -> Result<(), UnpackError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.send(full.into())
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), UnpackError> {
        let _writing = self.control.enter(Stage::Write);
        self.sink.write(bytes).map_err(UnpackError::Sink)
    }
}
