//! The rules of unpacking, without a tree: what each member of an archive becomes.
//!
//! [`unpack`](super::unpack), [`validate`](super::validate) and [`verify`](super::verify) all read archives by
//! way of this, so they accept and refuse the same archives. At the end the archive has to be what it
//! says of itself.

use std::sync::Arc;

use super::UnpackOptions;
use super::digest::Record;
use super::extents::{self, Extents};
use super::file_index::{PathKey, TreeDigest};
use super::member::{Member, MemberKind, Members};
use super::notices::Notices;
use super::path::{below_root, shown};
use super::place::{Taken, refused, refused_by_setting};
use super::policy::{drop_capability, dropped, dropped_capability, kept_mode, refused_link};
use super::rules::{Placed, Rules};
use super::stat::Meta;
use super::tally::Tally;
use super::trailer::Trailer;
use super::unpack::{UnpackError, Unpacked};
use super::xattr::{self, Xattr};

/// The longest target of a symbolic link on Linux, in bytes.
const MAX_TARGET: usize = 4095;

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
        let kept = kept.map_err(|reason| refused_by_setting(path, reason))?;
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

/// The path of a member that may be unpacked, as far as it alone tells.
pub fn check(member: &Member, options: &UnpackOptions) -> Result<Vec<u8>, UnpackError> {
    let path = below_root(&member.path).map_err(|reason| refused(&member.path, reason))?;
    let reason = match &member.kind {
        MemberKind::Device => return Err(device(&path)),
        MemberKind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            Some("its target is no path".to_owned())
        }
        MemberKind::Symlink(target) if target.len() > MAX_TARGET => {
            Some(format!("its target has more than {MAX_TARGET} bytes"))
        }
        MemberKind::Symlink(target) => {
            if let Some(reason) = refused_link(options.outside_links, &path, target) {
                return Err(refused_by_setting(&path, reason));
            }
            None
        }
        MemberKind::Hardlink(target) => match below_root(target) {
            Ok(_) => None,
            Err(reason) => Some(format!("it is a link to `{}`, and {reason}", shown(target))),
        },
        MemberKind::File(..) | MemberKind::Directory | MemberKind::Fifo => None,
    };
    match reason {
        Some(reason) => Err(refused(&path, reason)),
        None if path.is_empty() && !matches!(member.kind, MemberKind::Directory) => {
            Err(refused(&path, "it takes the place of the root"))
        }
        None => Ok(path),
    }
}

fn device(path: &[u8]) -> UnpackError {
    let path = shown(path);
    UnpackError::Unsupported(format!("`{path}` is a device, pack it again without that"))
}
