//! From a tree to an archive.

mod compress;
mod envelope;
mod prefetch;
pub mod scan;
pub mod transcode;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::thread;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, open, readlinkat, statat};
use rustix::io::Errno;

use self::compress::{Frames, stream};
use self::prefetch::{Ahead, Batch, Blocks, Context, FileStep, Opened, Step};
use self::scan::{check_link, is_kept, other_name};
use crate::error::PackError;
use crate::flow::control::{Control, Stage};
use crate::format::extents;
use crate::format::header::{self, BLOCK, Entry, Kind};
use crate::format::seal::Seal;
use crate::format::trailer::Trailer;
use crate::hash::{ContentHash, hash_zeros};
use crate::notices::Notices;
use crate::notices::left_out;
use crate::options::PackOptions;
use crate::packed::Packed;
use crate::stream::Sink;
use crate::tree::digest::{Digester, Record, SmallPieces};
use crate::tree::kept::Kept;
use crate::tree::policy::{drop_capability, dropped_capability, packed as packed_stat};
use crate::tree::stat::{Meta, kind, mtime, size};
use crate::tree::walk::{DIRECTORY, Found, open_directory, walk};
use crate::tree::xattr::{self, Xattr};

/// Packs everything below `root`. Nothing tells the sink of the end: that this returns is the end.
pub fn pack(
    root: &Path,
    options: &PackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Packed, PackError> {
    let reading = control.enter(Stage::Pack);
    let root = open(root, DIRECTORY, Mode::empty()).map_err(|errno| PackError::io(b"", errno))?;
    let root_stat = fstat(&root).map_err(|errno| PackError::io(b"", errno))?;
    let walked = root.as_fd().try_clone_to_owned().map_err(PackError::Root)?;
    drop(reading);
    let root_stat = packed_stat(options.setuid, b"", root_stat)?;
    let (mut packed, size) =
        stream(options.compression, &options.budget, sink, control, |frames| {
            envelope::begin(frames, options.compression)?;
            let context = Context::new(root_stat.st_dev, options.setuid, frames.control.clone());
            thread::scope(|scope| {
                let threads = options.budget.threads();
                let ahead = Ahead::start(scope, &context, threads);
                let control = frames.control;
                let mut packer = Packer::new(root, options, frames, &context, ahead);
                let packed = packer
                    .root(&root_stat)
                    .and_then(|()| walk(walked, control, &mut |found| packer.visit(&found)))
                    .and_then(|()| packer.finish());
                if packed.is_err() {
                    // Nobody needs what is still being read ahead.
                    control.stop();
                }
                packed
            })
        })?;
    packed.compressed_bytes = size.compressed;
    packed.check(&options.limits, size)?;
    Ok(packed)
}

/// Files up to this size are read before their header is written, so that a file that changes is in
/// the archive as it was at one moment.
const SMALL: u64 = 1 << 20;

/// How much of a large file is read between two looks at whether to stop.
const STRIDE: u64 = 64 << 20;

struct Packer<'a, 'b> {
    root: OwnedFd,
    options: &'a PackOptions,
    frames: &'a mut Frames<'b>,
    context: &'a Context,
    ahead: Ahead,
    inodes: HashMap<u64, Vec<u8>>,
    notices: Notices,
    digester: Digester,
    headers: SmallPieces,
    hashes: Vec<ContentHash>,
    kept: Kept,
    packed: Packed,
}

impl<'a, 'b> Packer<'a, 'b> {
    fn new(
        root: OwnedFd,
        options: &'a PackOptions,
        frames: &'a mut Frames<'b>,
        context: &'a Context,
        ahead: Ahead,
    ) -> Self {
        Self {
            root,
            options,
            frames,
            context,
            ahead,
            inodes: HashMap::new(),
            notices: Notices::default(),
            digester: Digester::default(),
            headers: SmallPieces::default(),
            hashes: Vec::new(),
            kept: Kept::default(),
            packed: Packed::empty(),
        }
    }

    fn root(&mut self, stat: &Stat) -> Result<(), PackError> {
        let xattrs = self.context.xattrs.read(self.root.as_fd());
        let mut xattrs = xattrs.map_err(|errno| PackError::io(b"", errno))?;
        drop_capability(self.options.setuid, &mut xattrs);
        self.kept.directory(b"", &xattrs).map_err(PackError::Limit)?;
        let meta = Meta::of(stat);
        self.header(&Entry { path: b"", kind: Kind::Directory, meta, xattrs: &xattrs })?;
        self.record(&Record::directory(stat, b"", &xattrs), None);
        Ok(())
    }

    fn visit(&mut self, found: &Found<'_>) -> Result<Option<OwnedFd>, PackError> {
        let Found { directory, name, path, kind: told } = found;
        let io = |errno| PackError::io(path, errno);
        if *told == FileType::RegularFile {
            return self.file(found).map(|()| None);
        }
        let reading = self.frames.control.enter(Stage::Pack);
        let stat = match statat(directory, *name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(self.vanished(path)),
            Err(errno) => return Err(io(errno)),
        };
        let stat = match kind(&stat) {
            FileType::Directory => packed_stat(self.options.setuid, path, stat)?,
            _ => stat,
        };
        if stat.st_dev != self.context.device {
            self.notices.add(left_out(path, "it is on another file system"));
            return Ok(None);
        }
        let type_ = kind(&stat);
        if !is_kept(type_) {
            self.notices.add(left_out(path, "it is neither file, directory nor link"));
            return Ok(None);
        }
        match type_ {
            FileType::Directory => {
                let opened = match open_directory(directory, name) {
                    Ok(opened) => opened,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        return Ok(self.vanished(path));
                    }
                    Err(errno) => return Err(io(errno)),
                };
                let mut xattrs = self.context.xattrs.read(opened.as_fd()).map_err(io)?;
                drop_capability(self.options.setuid, &mut xattrs);
                self.kept.directory(path, &xattrs).map_err(PackError::Limit)?;
                let record = Record::directory(&stat, path, &xattrs);
                drop(reading);
                self.ready(path, Kind::Directory, &stat, &xattrs, record)?;
                Ok(Some(opened))
            }
            FileType::Symlink => {
                let target = match readlinkat(directory, *name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(self.vanished(path)),
                    Err(errno) => return Err(io(errno)),
                };
                let target = target.to_bytes();
                check_link(self.options, self.root.as_fd(), path, target)?;
                let mut xattrs = self.context.xattrs.read_link(directory, name).map_err(io)?;
                drop_capability(self.options.setuid, &mut xattrs);
                self.kept.symlink(path, target).map_err(PackError::Limit)?;
                let record = Record::symlink(&stat, path, target);
                drop(reading);
                self.ready(path, Kind::Symlink(target), &stat, &xattrs, record)?;
                Ok(None)
            }
            _ => {
                drop(reading);
                self.file(found).map(|()| None)
            }
        }
    }

    fn vanished(&mut self, path: &[u8]) -> Option<OwnedFd> {
        let mut blocks = Blocks::default();
        blocks.vanished(path);
        self.take_note(&mut blocks);
        None
    }

    fn ready(
        &mut self,
        path: &[u8],
        kind: Kind<'_>,
        stat: &Stat,
        xattrs: &[Xattr],
        record: Record,
    ) -> Result<(), PackError> {
        let mut header = Vec::new();
        header::write(&Entry { path, kind, meta: Meta::of(stat), xattrs }, &mut header)
            .map_err(|reason| PackError::refused(path, reason))?;
        self.step(Step::Ready { header, record, charged: xattr::cost(xattrs) })
    }

    fn file(&mut self, found: &Found<'_>) -> Result<(), PackError> {
        self.step(Step::File(FileStep {
            directory: found.directory.clone(),
            name: found.name.to_owned(),
            path: found.path.to_owned(),
        }))
    }

    fn step(&mut self, step: Step) -> Result<(), PackError> {
        match self.ahead.add(step)? {
            Some(batch) => self.batch(batch),
            None => Ok(()),
        }
    }

    /// Packs what was read ahead, and reads what was not.
    fn batch(&mut self, mut batch: Batch) -> Result<(), PackError> {
        loop {
            self.blocks(batch.blocks)?;
            if let Some(opened) = batch.opened {
                self.opened(&opened)?;
            }
            let rest: VecDeque<Step> = batch.rest;
            if rest.is_empty() {
                return Ok(());
            }
            batch = prefetch::read(rest, self.context)?;
        }
    }

    fn blocks(&mut self, mut blocks: Blocks) -> Result<(), PackError> {
        self.frames.write(&blocks.bytes)?;
        self.frames.charge(blocks.charged);
        self.headers.update(&blocks.headers);
        self.digester.update(&blocks.records);
        self.hashes.append(&mut blocks.hashes);
        self.packed.entries += blocks.entries;
        self.packed.bytes += blocks.content;
        self.take_note(&mut blocks);
        self.context.give_back(blocks.bytes);
        Ok(())
    }

    fn take_note(&mut self, blocks: &mut Blocks) {
        self.packed.changed += blocks.changed;
        blocks.notices.drain(..).for_each(|notice| self.notices.add(notice));
    }

    fn opened(&mut self, opened: &Opened) -> Result<(), PackError> {
        let Opened { file, stat, path } = opened;
        let io = |errno| PackError::io(path, errno);
        if let Some(first) = other_name(&mut self.inodes, stat, path) {
            let (kind, meta) = (Kind::Hardlink(&first), Meta::of(stat));
            self.header(&Entry { path, kind, meta, xattrs: &[] })?;
            self.record(&Record::hardlink(stat, path, &first), None);
            self.kept.hardlink(&first).map_err(PackError::Limit)?;
            self.packed.entries += 1;
            return Ok(());
        }
        let mut xattrs = self.context.xattrs.read(file.as_fd()).map_err(io)?;
        if drop_capability(self.options.setuid, &mut xattrs) {
            self.notices.add(dropped_capability(path));
        }
        if size(stat) <= SMALL {
            let mut blocks = self.context.blocks();
            let reading = self.frames.control.enter(Stage::Pack);
            blocks.add_file(file, stat, path, &xattrs)?;
            drop(reading);
            return self.blocks(blocks);
        }
        let mut hasher = blake3::Hasher::new();
        let whole = self.large(opened, &xattrs, &mut hasher)?;
        let after = fstat(file).map_err(io)?;
        if !whole || (size(&after), mtime(&after)) != (size(stat), mtime(stat)) {
            self.packed.changed += 1;
        }
        let hash = *hasher.finalize().as_bytes();
        let mut record = Record::file(stat, path, size(stat));
        record.attributes(&xattrs);
        self.record(&record, Some(&hash));
        self.hashes.push(hash);
        self.packed.entries += 1;
        self.packed.bytes += size(stat);
        Ok(())
    }

    /// Copies a file through; returns whether all of it was there.
    fn large(
        &mut self,
        Opened { file, stat, path }: &Opened,
        xattrs: &[Xattr],
        hasher: &mut blake3::Hasher,
    ) -> Result<bool, PackError> {
        let io = |errno| PackError::io(path, errno);
        let (size, meta) = (size(stat), Meta::of(stat));
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX);
        let Some(extents) = extents::of(file, size, blocks).map_err(io)? else {
            self.header(&Entry { path, kind: Kind::File(size), meta, xattrs })?;
            let whole = self.copy(file, size, path, hasher)?;
            self.pad(size)?;
            return Ok(whole);
        };
        let list = extents::encode(&extents, size);
        let kind = Kind::Sparse(size, &extents, list.len() as u64);
        self.header(&Entry { path, kind, meta, xattrs })?;
        self.frames.charge(extents::holes(&extents, size));
        self.frames.write(&list)?;
        self.headers.update(&list);
        let (mut whole, mut total, mut position) = (true, 0, 0);
        for (offset, length) in &extents {
            self.hole(offset - position, hasher)?;
            rustix::fs::seek(file, rustix::fs::SeekFrom::Start(*offset)).map_err(io)?;
            whole &= self.copy(file, *length, path, hasher)?;
            total += length;
            position = offset + length;
        }
        self.hole(size - position, hasher)?;
        self.pad(total)?;
        Ok(whole)
    }

    /// Copies that much of a file; what is missing becomes zeros, so that the archive stays whole.
    fn copy(
        &mut self,
        file: &OwnedFd,
        length: u64,
        path: &[u8],
        hasher: &mut blake3::Hasher,
    ) -> Result<bool, PackError> {
        let mut left = length;
        while left > 0 {
            self.frames.control.check()?;
            let want = left.min(STRIDE);
            let read = self.frames.read(file.as_fd(), want, &mut |bytes| {
                hasher.update_rayon(bytes);
            });
            let read = read.map_err(|error| (path, error))?;
            left -= read;
            if read < want {
                self.frames.zeros(left)?;
                self.hole(left, hasher)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A hole takes no space in the archive, but its zeros are part of the content.
    fn hole(&self, length: u64, hasher: &mut blake3::Hasher) -> Result<(), PackError> {
        Ok(hash_zeros(hasher, length, self.frames.control, Stage::Pack)?)
    }

    fn header(&mut self, entry: &Entry<'_>) -> Result<(), PackError> {
        let mut header = Vec::new();
        header::write(entry, &mut header)
            .map_err(|reason| PackError::refused(entry.path, reason))?;
        self.frames.charge(xattr::cost(entry.xattrs));
        self.headers.update(&header);
        self.frames.write(&header)
    }

    fn record(&mut self, record: &Record, content: Option<&ContentHash>) {
        self.digester.add(record, content);
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        self.frames.zeros(size.next_multiple_of(BLOCK as u64) - size)
    }

    fn finish(mut self) -> Result<Packed, PackError> {
        while let Some(batch) = self.ahead.next()? {
            self.batch(batch)?;
        }
        self.packed.digest = self.digester.finish();
        let Packed { digest, entries, bytes, .. } = self.packed;
        let trailer = Trailer { digest, entries, bytes };
        let seal = Seal { trailer, headers: self.headers.finish() };
        envelope::end(self.frames, self.options.compression, &seal, &self.hashes)?;
        if self.packed.changed > 0 {
            self.notices.add("files changed while the volume was packed".to_owned());
        }
        self.packed.notices = self.notices.into_vec();
        Ok(self.packed)
    }
}
