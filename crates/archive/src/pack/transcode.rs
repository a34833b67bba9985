//! From a plain archive that somebody else made to one of our own.
//!
//! It is for trees that this process has no directory of. The archive is the same as the one that
//! [`pack`](crate::pack) makes of such a tree, as far as the other one tells what is in it.

use super::compress::{Frames, stream};
use super::envelope;
use super::scan::Scan;
use crate::error::PackError;
use crate::flow::control::Control;
use crate::format::extents::{self, MAX_LIST};
use crate::format::header::{self, BLOCK, Entry, Kind};
use crate::format::seal::Seal;
use crate::format::trailer::Trailer;
use crate::hash::ContentHash;
use crate::notices::Notices;
use crate::notices::left_out;
use crate::options::{Limits, PackOptions, UnpackOptions};
use crate::packed::Packed;
use crate::path::below_root;
use crate::read::decompress;
use crate::read::member::{Member, MemberKind};
use crate::read::members::Members;
use crate::read::pass::pass;
use crate::read::rules::Rules;
use crate::read::rules::check;
use crate::stream::Sink;
use crate::stream::Source;
use crate::tree::digest::{Digester, Record, SmallPieces};
use crate::tree::policy::{drop_capability, dropped, dropped_capability, kept_mode};
use crate::tree::stat::Meta;
use crate::tree::xattr::{self, Xattr};

/// Whose what belongs to root is in somebody else's archive. All other numbers are higher by the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Root {
    pub user: u32,
    pub group: u32,
}

/// Whose something is that belongs to nobody there, as Linux has it.
const NOBODY: u32 = 65_534;

impl Root {
    fn owners(self, meta: Meta) -> Meta {
        let own = |id: u32, root: u32| id.checked_sub(root).unwrap_or(NOBODY);
        Meta { uid: own(meta.uid, self.user), gid: own(meta.gid, self.group), ..meta }
    }
}

/// Makes an archive of a plain one.
pub fn transcode(
    source: &mut dyn Source,
    root: Root,
    options: &PackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Packed, PackError> {
    let (mut packed, size) =
        stream(options.compression, &options.budget, sink, control, |frames| {
            envelope::begin(frames, options.compression)?;
            let (packed, headers, hashes) =
                transcribe(source, root, options, control, Some(frames))?;
            let Packed { digest, entries, bytes, .. } = packed;
            let seal = Seal { trailer: Trailer { digest, entries, bytes }, headers };
            envelope::end(frames, options.compression, &seal, &hashes)?;
            Ok(packed)
        })?;
    packed.compressed_bytes = size.compressed;
    packed.check(&options.limits, size)?;
    Ok(packed)
}

/// Reads a plain archive and finds out what [`scan`](crate::scan) would say of the tree.
pub fn scan_archive(
    source: &mut dyn Source,
    options: &PackOptions,
    control: &Control,
) -> Result<Scan, PackError> {
    let (Packed { digest, entries, bytes, .. }, ..) =
        transcribe(source, Root::default(), options, control, None)?;
    Ok(Scan { digest, entries, bytes, bytes_read: bytes })
}

/// Whether a plain archive has nothing that ours would keep. Reads no more of it than that takes.
pub fn is_empty_archive(
    source: &mut dyn Source,
    options: &PackOptions,
    control: &Control,
) -> Result<bool, PackError> {
    members(source, options, control, |members| {
        while let Some(member) = members.next()? {
            let is_kept = !matches!(member.kind, MemberKind::Fifo | MemberKind::Device);
            if is_kept && below_root(&member.path).is_ok_and(|path| !path.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn transcribe(
    source: &mut dyn Source,
    root: Root,
    options: &PackOptions,
    control: &Control,
    frames: Option<&mut Frames<'_>>,
) -> Result<(Packed, [u8; 32], Vec<ContentHash>), PackError> {
    // What is only looked at may be of any size.
    let most = if frames.is_some() { options.limits.entries } else { u64::MAX };
    members(source, options, control, |members| {
        let mut transcript = Transcript {
            checks: unbounded(options),
            root,
            frames,
            digester: Digester::default(),
            headers: SmallPieces::default(),
            hashes: Vec::new(),
            rules: Rules::new(options.outside_links, most),
            notices: Notices::default(),
            packed: Packed::empty(),
        };
        while let Some(member) = members.next()? {
            transcript.add(member, members)?;
        }
        transcript.finish()
    })
}

/// Runs `read` on the members of an archive.
fn members<T>(
    source: &mut dyn Source,
    options: &PackOptions,
    control: &Control,
    read: impl FnOnce(&mut Members<'_, '_>) -> Result<T, PackError>,
) -> Result<T, PackError> {
    let read = decompress::plain(source, &unbounded(options), control, |content| {
        Ok(read(&mut Members::new(content)))
    });
    read?
}

/// What tasks have put into a volume may be of any size.
fn unbounded(options: &PackOptions) -> UnpackOptions {
    UnpackOptions {
        limits: Limits { entries: u64::MAX, bytes: u64::MAX, ratio: u64::MAX, free: u64::MAX },
        outside_links: options.outside_links,
        setuid: options.setuid,
        expected: None,
        sealed: false,
        budget: options.budget.clone(),
    }
}

struct Transcript<'a, 'b> {
    checks: UnpackOptions,
    root: Root,
    frames: Option<&'a mut Frames<'b>>,
    digester: Digester,
    headers: SmallPieces,
    hashes: Vec<ContentHash>,
    rules: Rules,
    notices: Notices,
    packed: Packed,
}

impl Transcript<'_, '_> {
    fn add(&mut self, member: Member, members: &mut Members<'_, '_>) -> Result<(), PackError> {
        if matches!(member.kind, MemberKind::Fifo | MemberKind::Device) {
            let path = below_root(&member.path).unwrap_or(member.path);
            self.notices.add(left_out(&path, "it is neither file, directory nor link"));
            return Ok(());
        }
        let path = check(&member, &self.checks)?;
        let Member { kind, meta, mut xattrs, .. } = member;
        let mut meta = self.root.owners(meta);
        if matches!(kind, MemberKind::Directory | MemberKind::File(..) | MemberKind::Hardlink(_)) {
            let is_directory = matches!(kind, MemberKind::Directory);
            let kept = kept_mode(self.checks.setuid, is_directory, meta.mode);
            let kept = kept.map_err(|reason| PackError::refused(&path, reason))?;
            if kept != meta.mode && matches!(kind, MemberKind::File(..)) {
                self.notices.add(dropped(&path));
            }
            meta.mode = kept;
        }
        let lost = drop_capability(self.checks.setuid, &mut xattrs);
        if lost && matches!(kind, MemberKind::File(..)) {
            self.notices.add(dropped_capability(&path));
        }
        // Engines pack a symbolic link with several names as further names of the first one.
        let kind = match kind {
            MemberKind::Hardlink(target) => match self.rules.link(&below(&path, &target)?) {
                Some(leads_to) => MemberKind::Symlink(leads_to.clone()),
                None => MemberKind::Hardlink(target),
            },
            kind => kind,
        };
        let Some(placed) = self.rules.place(&path, &kind, &xattrs)? else { return Ok(()) };
        let mut content = None;
        let mut record = match &kind {
            MemberKind::Symlink(target) => {
                self.header(&path, Kind::Symlink(target), meta, &xattrs)?;
                Record::new(b'l', meta.mode, &path, target)
            }
            MemberKind::Hardlink(_) => {
                self.header(&path, Kind::Hardlink(&placed.target), meta, &[])?;
                Record::new(b'h', meta.mode, &path, &placed.target)
            }
            MemberKind::File(size, parts) => {
                self.packed.bytes = self.packed.bytes.saturating_add(*size);
                content = self.file(&path, *size, parts.as_deref(), meta, &xattrs, members)?;
                Record::new(b'f', meta.mode, &path, &size.to_le_bytes())
            }
            MemberKind::Directory | MemberKind::Fifo | MemberKind::Device => {
                self.header(&path, Kind::Directory, meta, &xattrs)?;
                Record::new(b'd', meta.mode, &path, b"")
            }
        };
        if matches!(kind, MemberKind::Directory | MemberKind::File(..)) {
            record.attributes(&xattrs);
        }
        self.digester.add(&record, content.as_ref());
        self.hashes.extend(content);
        self.packed.entries += u64::from(placed.is_new);
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        size: u64,
        parts: Option<&[(u64, u64)]>,
        meta: Meta,
        xattrs: &[Xattr],
        members: &mut Members<'_, '_>,
    ) -> Result<Option<ContentHash>, PackError> {
        match parts.map(<[_]>::to_vec) {
            None => self.header(path, Kind::File(size), meta, xattrs)?,
            Some(parts) => {
                let list = extents::encode(&parts, size);
                if list.len() > MAX_LIST {
                    let reason = format!("it has {} parts between holes", parts.len());
                    return Err(PackError::refused(path, reason));
                }
                self.charge(extents::holes(&parts, size));
                let kind = Kind::Sparse(size, &parts, list.len() as u64);
                self.header(path, kind, meta, xattrs)?;
                self.headers.update(&list);
                self.write(&list)?;
            }
        }
        let passed = pass(members, size, parts, &mut |data| self.write(&data))?;
        let padding = passed.stored.next_multiple_of(BLOCK as u64) - passed.stored;
        self.write(&[0; BLOCK][..padding as usize])?;
        Ok(Some(passed.hash))
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: Kind<'_>,
        meta: Meta,
        xattrs: &[Xattr],
    ) -> Result<(), PackError> {
        if self.frames.is_none() {
            return Ok(());
        }
        let mut header = Vec::with_capacity(BLOCK);
        header::write(&Entry { path, kind, meta, xattrs }, &mut header)
            .map_err(|reason| PackError::refused(path, reason))?;
        self.charge(xattr::cost(xattrs));
        self.headers.update(&header);
        self.write(&header)
    }

    fn charge(&mut self, bytes: u64) {
        if let Some(frames) = &mut self.frames {
            frames.charge(bytes);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.frames.as_mut().map_or(Ok(()), |frames| frames.write(bytes))
    }

    fn finish(mut self) -> Result<(Packed, [u8; 32], Vec<ContentHash>), PackError> {
        self.rules.finish()?;
        self.packed.digest = self.digester.finish();
        self.packed.notices = self.notices.into_vec();
        Ok((self.packed, self.headers.finish(), self.hashes))
    }
}

/// The path that the member at `path` is another name of.
fn below(path: &[u8], target: &[u8]) -> Result<Vec<u8>, PackError> {
    below_root(target).map_err(|reason| PackError::refused(path, reason.to_owned()))
}
