//! The rules of unpacking, without a tree: what each member of an archive becomes.
//!
//! [`unpack`](super::unpack), [`relay`](super::relay) and [`verify`](super::verify) all read archives by
//! way of this, so they accept and refuse the same archives. At the end the archive has to be what it
//! says of itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::UnpackOptions;
use super::digest::Record;
use super::extents::Extents;
use super::member::{Member, MemberKind, Members};
use super::notices::Notices;
use super::path::{below_root, goes_up, shown, split};
use super::place::{Taken, refused, refused_by_setting};
use super::policy::{kept_mode, outside_by_way, refused_link};
use super::snapshot::{PathKey, TreeDigest, path_key};
use super::stat::Meta;
use super::tally::Tally;
use super::trailer::Trailer;
use super::unpack::{UnpackError, Unpacked};
use super::walk::MAX_DEPTH;
use super::xattr::{self, Xattr};

/// Memory for what has to be remembered of directories and links until the end, in bytes.
const MAX_KEPT: u64 = 1 << 30;

/// The longest target of a symbolic link on Linux, in bytes.
const MAX_TARGET: usize = 4095;

pub struct Layout<'a> {
    options: &'a UnpackOptions,
    taken: HashMap<PathKey, Taken>,
    /// Directories that something was put into.
    filled: HashSet<PathKey>,
    /// The last one of these.
    last_filled: Vec<u8>,
    /// The targets of symbolic links.
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// Symbolic links that may lead out of the tree through other ones.
    upward: Vec<Vec<u8>>,
    kept: u64,
    entries: u64,
    bytes: u64,
    pub tally: Arc<Tally>,
    pub notices: Notices,
}

/// A member that obeys the rules.
pub struct Accepted {
    /// Relative to the root, empty for the root itself.
    pub path: Vec<u8>,
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
            taken: HashMap::new(),
            filled: HashSet::new(),
            last_filled: Vec::new(),
            links: HashMap::new(),
            upward: Vec::new(),
            kept: 0,
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
        let Member { kind, mut meta, xattrs, .. } = member;
        if matches!(kind, MemberKind::Fifo) {
            self.notices.add(format!("`{}` is a pipe and was left out", shown(&path)));
            return Ok(None);
        }
        members.charge(xattr::cost(&xattrs))?;
        let archived = meta.mode;
        meta.mode = self.mode(&path, &kind, archived)?;
        let accepted = |path, kind, above, replaces, xattrs| {
            Ok(Some(Accepted { path, kind, meta, xattrs, above, replaces }))
        };
        if path.is_empty() {
            self.record(b'd', archived, &path, b"", &xattrs);
            let kind = AcceptedKind::Directory { is_new: false };
            return accepted(path, kind, Vec::new(), None, xattrs);
        }
        let above = self.above(&path)?;
        let mut replaces = self.taken(&path);
        match (&kind, replaces) {
            (MemberKind::Directory, Some(Taken::Directory)) => {
                self.record(b'd', archived, &path, b"", &xattrs);
                self.keep(path.len(), &xattrs)?;
                let kind = AcceptedKind::Directory { is_new: false };
                return accepted(path, kind, above, None, xattrs);
            }
            (_, Some(Taken::Directory)) if self.filled.contains(&path_key(&path)) => {
                let reason = "it takes the place of a directory that is not empty";
                return Err(refused(&path, reason));
            }
            // A second entry for a file with one name, as GNU tar packs what it was given twice.
            (MemberKind::Hardlink(target), Some(Taken::File | Taken::Link))
                if below_root(target).is_ok_and(|target| target == path) =>
            {
                return Ok(None);
            }
            // The last entry of a name counts.
            (_, Some(_)) => {
                self.taken.remove(&path_key(&path));
                self.links.remove(&path);
            }
            (_, None) => replaces = None,
        }
        self.entries += 1;
        match kind {
            MemberKind::Directory => {
                self.take(&path, Taken::Directory)?;
                self.keep(path.len(), &xattrs)?;
                self.record(b'd', archived, &path, b"", &xattrs);
                accepted(path, AcceptedKind::Directory { is_new: true }, above, replaces, xattrs)
            }
            MemberKind::Symlink(target) => {
                self.symlink(&path, &target)?;
                self.record(b'l', archived, &path, &target, &[]);
                accepted(path, AcceptedKind::Symlink(target), above, replaces, xattrs)
            }
            MemberKind::Hardlink(target) => {
                let target = below_root(&target).map_err(|reason| refused(&path, reason))?;
                match self.taken(&target) {
                    Some(Taken::File) => self.take(&path, Taken::File)?,
                    // Another name of a symbolic link leads elsewhere if it is in another directory.
                    Some(Taken::Link) => {
                        let leads_to = self.links.get(&target).cloned().unwrap_or_default();
                        let links = self.options.outside_links;
                        if let Some(reason) = refused_link(links, &path, &leads_to) {
                            return Err(refused_by_setting(&path, reason));
                        }
                        self.symlink(&path, &leads_to)?;
                    }
                    Some(Taken::Directory) | None => {
                        let target = shown(&target);
                        let reason =
                            format!("it is a link to `{target}`, which is no file before it");
                        return Err(refused(&path, reason));
                    }
                }
                self.record(b'h', archived, &path, &target, &[]);
                accepted(path, AcceptedKind::Hardlink(target), above, replaces, xattrs)
            }
            MemberKind::File(size, extents) => {
                self.bytes = self.added(size)?;
                if let Some(extents) = &extents {
                    // A hole takes no space in the archive, but may where it is unpacked, and its
                    // zeros are hashed.
                    let stored: u64 = extents.iter().map(|(_, length)| length).sum();
                    members.charge(size.saturating_sub(stored))?;
                }
                self.take(&path, Taken::File)?;
                let mut record = Record::new(b'f', archived, &path, &size.to_le_bytes());
                record.attributes(&xattrs);
                let number = self.tally.add_file(record);
                let kind = AcceptedKind::File { number, size, extents };
                accepted(path, kind, above, replaces, xattrs)
            }
            // Both were handled above.
            MemberKind::Fifo | MemberKind::Device => Err(device(&path)),
        }
    }

    pub fn taken(&self, path: &[u8]) -> Option<Taken> {
        match path {
            b"" => Some(Taken::Directory),
            path => self.taken.get(&path_key(path)).copied(),
        }
    }

    /// Ends the traversal after the last member. All files have to be in the tally.
    pub fn finish(&mut self, members: &mut Members<'_, '_>) -> Result<Unpacked, UnpackError> {
        if self.options.outside_links == super::OutsideLinks::Refuse {
            for path in &self.upward {
                if let Some(reason) = outside_by_way(&self.links, path) {
                    return Err(refused_by_setting(path, reason));
                }
            }
        }
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
            self.notices.add(super::policy::dropped(path));
        }
        Ok(kept)
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        self.take(path, Taken::Link)?;
        self.keep(2 * path.len() + target.len(), &[])?;
        if goes_up(target) {
            self.upward.push(path.to_vec());
        }
        self.links.insert(path.to_vec(), target.to_vec());
        Ok(())
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

    /// Counts what is remembered until the end.
    fn keep(&mut self, bytes: usize, xattrs: &[Xattr]) -> Result<(), UnpackError> {
        let attributes = xattrs.iter().map(|(name, value)| name.count_bytes() + value.len() + 64);
        self.kept += (bytes + 64 + attributes.sum::<usize>()) as u64;
        if self.kept > MAX_KEPT {
            return Err(UnpackError::Limit(format!(
                "its directories and links take more than {MAX_KEPT} bytes of memory"
            )));
        }
        Ok(())
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

    /// The directories above a path that are not there yet.
    fn above(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, UnpackError> {
        if path.iter().filter(|byte| **byte == b'/').count() >= MAX_DEPTH {
            return Err(UnpackError::Unsupported(format!(
                "`{}` is more than {MAX_DEPTH} directories deep, pack it again without that",
                shown(path)
            )));
        }
        // Most entries are in the same directory as the one before. A directory that something was put into
        // stays one.
        let parent = split(path).map_or(&[][..], |(parent, _)| parent);
        if parent == self.last_filled {
            return Ok(Vec::new());
        }
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
                    missing.push(parent.to_vec());
                    at = parent;
                    continue;
                }
            };
            let reason = format!("something is to be put into it, and it is {what}");
            return Err(refused(parent, reason));
        }
        missing.reverse();
        for path in &missing {
            self.take(path, Taken::Directory)?;
            self.keep(path.len(), &[])?;
        }
        self.last_filled.clear();
        self.last_filled.extend_from_slice(parent);
        Ok(missing)
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
