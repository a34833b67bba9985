//! The rules of unpacking, without a tree: what each member of an archive becomes.
//!
//! [`unpack`](crate::unpack), [`validate`](crate::validate) and [`verify`](crate::verify) all read archives by
//! way of this, so they accept and refuse the same archives. At the end the archive has to be what it
//! says of itself.

use std::sync::Arc;

use super::tally::Tally;
use crate::error::UnpackError;
use crate::format::extents::{self, Extents};
use crate::format::trailer::Trailer;
use crate::hash::TreeDigest;
use crate::notices::Notices;
use crate::options::UnpackOptions;
use crate::path::shown;
use crate::read::member::{Member, MemberKind};
use crate::read::members::Members;
use crate::read::rules::{Placed, Rules, Taken, check, device};
use crate::tree::digest::Record;
use crate::tree::file_index::PathKey;
use crate::tree::policy::{drop_capability, dropped, dropped_capability, kept_mode};
use crate::tree::stat::Meta;
use crate::tree::xattr::{self, Xattr};
use crate::unpacked::Unpacked;

pub struct Layout<'a> {
    options: &'a UnpackOptions,
    rules: Rules,
    entries: u64,
    bytes: u64,
    pub tally: Arc<Tally>,
    pub notices: Notices,
}

/// A member that obeys the rules.
pub struct Accepted {
    /// Relative to the root, empty for the root itself.
    pub path: Vec<u8>,
    pub key: PathKey,
    pub kind: AcceptedKind,
    /// With the mode that the entry is to have.
    pub meta: Meta,
    pub xattrs: Vec<Xattr>,
    /// Directories above the entry that no member has described, from the top down.
    pub above: Vec<Vec<u8>>,
    /// What the entry takes the place of.
    pub replaces: Option<Taken>,
}

pub enum AcceptedKind {
    /// It may be there already, and gets other attributes then.
    Directory {
        is_new: bool,
    },
    Symlink(Vec<u8>),
    /// With the path of the file or symbolic link that it is another name of.
    Hardlink(Vec<u8>),
    File {
        /// Of all regular files, in the order of the archive.
        number: usize,
        size: u64,
        extents: Option<Extents>,
    },
}

impl<'a> Layout<'a> {
    pub fn new(options: &'a UnpackOptions) -> Self {
        Self {
            options,
            rules: Rules::new(options.outside_links, options.limits.entries),
            entries: 0,
            bytes: 0,
            tally: Arc::default(),
            notices: Notices::default(),
        }
    }

    /// What a member becomes; `None` if that is nothing.
    pub fn accept(
        &mut self,
        member: Member,
        members: &mut Members<'_, '_>,
    ) -> Result<Option<Accepted>, UnpackError> {
        let path = check(&member, self.options)?;
        let Member { kind, mut meta, mut xattrs, .. } = member;
        if matches!(kind, MemberKind::Fifo) {
            self.notices.add(format!("`{}` is a pipe and was left out", shown(&path)));
            return Ok(None);
        }
        members.charge(xattr::cost(&xattrs))?;
        let archived = meta.mode;
        meta.mode = self.mode(&path, &kind, archived)?;
        if drop_capability(self.options.setuid, &mut xattrs) {
            self.notices.add(dropped_capability(&path));
        }
        let Some(placed) = self.rules.place(&path, &kind, &xattrs)? else { return Ok(None) };
        let Placed { key, above, replaces, is_new, target } = placed;
        self.entries += u64::from(is_new);
        let kind = match kind {
            MemberKind::Directory => {
                self.record(b'd', archived, &path, b"", &xattrs);
                AcceptedKind::Directory { is_new }
            }
            MemberKind::Symlink(target) => {
                self.record(b'l', archived, &path, &target, &[]);
                AcceptedKind::Symlink(target)
            }
            MemberKind::Hardlink(_) => {
                self.record(b'h', archived, &path, &target, &[]);
                AcceptedKind::Hardlink(target)
            }
            MemberKind::File(size, extents) => {
                self.bytes = self.added(size)?;
                if let Some(extents) = &extents {
                    // A hole takes no space in the archive, but may where it is unpacked, and its
                    // zeros are hashed.
                    members.charge(extents::holes(extents, size))?;
                }
                let mut record = Record::new(b'f', archived, &path, &size.to_le_bytes());
                record.attributes(&xattrs);
                let number = self.tally.add_file(record);
                AcceptedKind::File { number, size, extents }
            }
            // Both were handled above.
            MemberKind::Fifo | MemberKind::Device => return Err(device(&path)),
        };
        Ok(Some(Accepted { path, key, kind, meta, xattrs, above, replaces }))
    }

    pub fn taken(&self, path: &[u8]) -> Option<Taken> {
        self.rules.taken(path)
    }

    /// Ends the traversal after the last member. All files have to be in the tally.
    pub fn finish(&mut self, members: &mut Members<'_, '_>) -> Result<Unpacked, UnpackError> {
        self.rules.finish()?;
        let digest = self.tally.finish().ok_or(UnpackError::Stopped)?;
        let trailer = self.compare(digest, members)?;
        Ok(Unpacked {
            digest: Some(digest),
            trailer,
            entries: self.entries,
            bytes: self.bytes,
            notices: std::mem::take(&mut self.notices).into_vec(),
            ..Unpacked::default()
        })
    }

    /// Compares what was read with all that is known of what was packed.
    fn compare(
        &self,
        digest: TreeDigest,
        members: &mut Members<'_, '_>,
    ) -> Result<Option<Trailer>, UnpackError> {
        let damaged = |what: &str| Err(UnpackError::Damaged(what.to_owned()));
        let found = Trailer { digest, entries: self.entries, bytes: self.bytes };
        let frame = members.trailer();
        let seal = members.seal()?;
        if self.options.sealed && seal.is_none() {
            return damaged("it lacks the seal that all archives of its version have");
        }
        if seal.is_some_and(|seal| seal.trailer != found)
            || frame.is_some_and(|trailer| trailer != found)
        {
            return damaged("its content is not what its end says");
        }
        if seal.is_some_and(|seal| seal.headers != members.headers()) {
            return damaged("its headers are not what its end says");
        }
        if self.options.expected.is_some_and(|expected| expected != digest) {
            return damaged("its content has another digest than the store has of it");
        }
        Ok(seal.map(|seal| seal.trailer).or(frame))
    }

    /// The mode of an entry, which may have fewer bits than in the archive.
    fn mode(&mut self, path: &[u8], kind: &MemberKind, mode: u32) -> Result<u32, UnpackError> {
        let is_directory = match kind {
            MemberKind::Directory => true,
            MemberKind::File(..) => false,
            _ => return Ok(mode),
        };
        let kept = kept_mode(self.options.setuid, is_directory, mode);
        let kept = kept.map_err(|reason| UnpackError::refused_by_setting(path, reason))?;
        if kept != mode {
            self.notices.add(dropped(path));
        }
        Ok(kept)
    }

    /// The size of all files so far and one more.
    fn added(&self, size: u64) -> Result<u64, UnpackError> {
        let limit = self.options.limits.bytes;
        self.bytes.checked_add(size).filter(|bytes| *bytes <= limit).ok_or_else(|| {
            UnpackError::Limit(format!(
                "its files have more bytes than {limit}, allow more with `cache_max_size`"
            ))
        })
    }

    /// Adds an entry that is no regular file to the tree's digest.
    fn record(&self, kind: u8, mode: u32, path: &[u8], detail: &[u8], xattrs: &[Xattr]) {
        let mut record = Record::new(kind, mode, path, detail);
        record.attributes(xattrs);
        self.tally.add(record);
    }
}
