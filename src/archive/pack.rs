//! From a tree to an archive.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, open, readlinkat, statat};
use rustix::io::Errno;

use super::compress::{Frames, ReadError, stream};
use super::extents;
use super::frame::{HASHES_MAGIC, HASHES_SIGNATURE, skippable};
use super::header::{self, BLOCK, Entry, Kind};
use super::notices::Notices;
use super::path::shown;
use super::policy::refused_mode;
use super::snapshot::{path_key, stamp};
use super::stat::{Meta, kind, size};
use super::survey::{Survey, check_link, is_kept, left_out, other_name};
use super::walk::{DIRECTORY, Found, open_directory, open_file, walk};
use super::xattr;
use super::{Compression, PackOptions};

/// Where an archive goes.
pub trait Sink: Send {
    /// Takes the next part, and waits while it cannot. An error ends the packing.
    fn write(&mut self, part: Bytes) -> io::Result<()>;
}

/// An archive that was packed to its end.
#[derive(Debug)]
pub struct Packed {
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
    /// Of the archive.
    pub compressed_bytes: u64,
    /// How many files are not the ones that the survey saw. The archive is whole all the same.
    pub changed: u64,
    /// What was left out and why, for people.
    pub notices: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read `{path}`: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the volume: {0}")]
    Root(#[source] io::Error),
    /// Nobody could unpack it.
    #[error("`{path}` cannot be in an archive: {reason}")]
    Refused { path: String, reason: String },
    #[error("cannot write the archive: {0}")]
    Sink(#[source] io::Error),
    #[error("packing was stopped")]
    Stopped,
}

impl PackError {
    pub(super) fn io(path: &[u8], errno: Errno) -> Self {
        Self::Io { path: shown(path), source: errno.into() }
    }
}

impl From<(&[u8], ReadError)> for PackError {
    fn from((path, error): (&[u8], ReadError)) -> Self {
        match error {
            ReadError::File(errno) => Self::io(path, errno),
            ReadError::Pack(error) => error,
        }
    }
}

/// Packs everything below `root`. Nothing tells the sink of the end: that this returns is the end.
pub fn pack(
    root: &Path,
    survey: &Survey,
    options: &PackOptions,
    sink: &mut dyn Sink,
    stop: &AtomicBool,
) -> Result<Packed, PackError> {
    let root = open(root, DIRECTORY, Mode::empty()).map_err(|errno| PackError::io(b"", errno))?;
    let (mut packed, compressed_bytes) =
        stream(options.compression, &options.budget, sink, |frames| {
            if options.with_hashes && options.compression == Compression::Zstd {
                write_hashes(survey, frames)?;
            }
            let mut packer = Packer::new(root, survey, options, stop, frames)?;
            let walked = packer.root.as_fd().try_clone_to_owned().map_err(PackError::Root)?;
            walk(walked, stop, &mut |found| packer.visit(&found))?;
            packer.finish()
        })?;
    packed.compressed_bytes = compressed_bytes;
    Ok(packed)
}

fn write_hashes(survey: &Survey, frames: &mut Frames<'_>) -> Result<(), PackError> {
    let size = HASHES_SIGNATURE.len() + survey.files.len() * 32;
    // A tree of more files than the format can tell the hashes of does without.
    let Ok(size) = u32::try_from(size) else { return Ok(()) };
    let mut frame = skippable(HASHES_MAGIC, size).to_vec();
    frame.extend_from_slice(HASHES_SIGNATURE);
    frame.extend(survey.files.iter().flat_map(|file| file.content));
    frames.raw(frame)
}

/// Files up to this size are read before their header is written, so that a file that changes is in
/// the archive as it was at one moment.
const SMALL: u64 = 1 << 20;

/// How much of a large file is read between two looks at `stop`.
const STRIDE: u64 = 64 << 20;

struct Packer<'a, 'b> {
    root: OwnedFd,
    device: u64,
    survey: &'a Survey,
    options: &'a PackOptions,
    stop: &'a AtomicBool,
    frames: &'a mut Frames<'b>,
    xattrs: xattr::Reader,
    inodes: HashMap<u64, Vec<u8>>,
    notices: Notices,
    /// How many regular files were packed.
    files: usize,
    packed: Packed,
    header: Vec<u8>,
    content: Vec<u8>,
}

impl<'a, 'b> Packer<'a, 'b> {
    fn new(
        root: OwnedFd,
        survey: &'a Survey,
        options: &'a PackOptions,
        stop: &'a AtomicBool,
        frames: &'a mut Frames<'b>,
    ) -> Result<Self, PackError> {
        let stat = fstat(&root).map_err(|errno| PackError::io(b"", errno))?;
        let mut this = Self {
            root,
            device: stat.st_dev,
            survey,
            options,
            stop,
            frames,
            xattrs: xattr::Reader::default(),
            inodes: HashMap::new(),
            notices: Notices::default(),
            files: 0,
            packed: Packed {
                entries: 0,
                bytes: 0,
                compressed_bytes: 0,
                changed: 0,
                notices: Vec::new(),
            },
            header: Vec::new(),
            content: Vec::with_capacity(SMALL as usize + 1),
        };
        let xattrs = this.xattrs.read(this.root.as_fd());
        let xattrs = xattrs.map_err(|errno| PackError::io(b"", errno))?;
        this.write_header(&Entry {
            path: b"",
            kind: Kind::Directory,
            meta: Meta::of(&stat),
            xattrs: &xattrs,
        })?;
        Ok(this)
    }

    fn visit(&mut self, found: &Found<'_>) -> Result<Option<OwnedFd>, PackError> {
        let Found { directory, name, path, kind: told } = found;
        let io = |errno| PackError::io(path, errno);
        if *told == FileType::RegularFile {
            return self.file(found).map(|()| None);
        }
        let stat = match statat(directory, *name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(self.vanished(path)),
            Err(errno) => return Err(io(errno)),
        };
        if stat.st_dev != self.device {
            left_out(&mut self.notices, path, "it is on another file system");
            return Ok(None);
        }
        let type_ = kind(&stat);
        if !is_kept(type_) {
            left_out(&mut self.notices, path, "it is neither file, directory nor link");
            return Ok(None);
        }
        let entry = |kind, xattrs| Entry { path, kind, meta: Meta::of(&stat), xattrs };
        match type_ {
            FileType::Directory => {
                let opened = match open_directory(directory, name) {
                    Ok(opened) => opened,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        return Ok(self.vanished(path));
                    }
                    Err(errno) => return Err(io(errno)),
                };
                let xattrs = self.xattrs.read(opened.as_fd()).map_err(io)?;
                self.write_header(&entry(Kind::Directory, &xattrs))?;
                self.packed.entries += 1;
                Ok(Some(opened))
            }
            FileType::Symlink => {
                let target = match readlinkat(directory, *name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(self.vanished(path)),
                    Err(errno) => return Err(io(errno)),
                };
                check_link(self.options, self.root.as_fd(), path, target.to_bytes())?;
                let xattrs = self.xattrs.read_link(directory, name).map_err(io)?;
                self.write_header(&entry(Kind::Symlink(target.to_bytes()), &xattrs))?;
                self.packed.entries += 1;
                Ok(None)
            }
            _ => self.file(found).map(|()| None),
        }
    }

    fn file(&mut self, found: &Found<'_>) -> Result<(), PackError> {
        let path = found.path;
        let io = |errno| PackError::io(path, errno);
        let opened = match open_file(found.directory, found.name) {
            Ok(opened) => opened,
            // Something else has taken its place.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                self.vanished(path);
                return Ok(());
            }
            Err(errno) => return Err(io(errno)),
        };
        let stat = fstat(&opened).map_err(io)?;
        if kind(&stat) != FileType::RegularFile {
            self.vanished(path);
            return Ok(());
        }
        if let Some(reason) = refused_mode(stat.st_mode) {
            return Err(PackError::Refused { path: shown(path), reason });
        }
        if stat.st_dev != self.device {
            left_out(&mut self.notices, path, "it is on another file system");
            return Ok(());
        }
        let meta = Meta::of(&stat);
        if let Some(first) = other_name(&mut self.inodes, &stat, path) {
            self.packed.entries += 1;
            return self.write_header(&Entry {
                path,
                kind: Kind::Hardlink(&first),
                meta,
                xattrs: &[],
            });
        }
        let stamp = stamp(path_key(path), &stat);
        let surveyed = self.survey.files.get(self.files).filter(|file| file.stamp == stamp);
        let mut changed = surveyed.is_none();
        let xattrs = match surveyed {
            Some(file) if file.is_plain => Vec::new(),
            _ => self.xattrs.read(opened.as_fd()).map_err(io)?,
        };
        let expected = size(&stat);
        let entry = |kind| Entry { path, kind, meta, xattrs: &xattrs };
        let written = if expected <= SMALL {
            self.read_small(&opened, expected).map_err(io)?;
            let size = self.content.len() as u64;
            self.write_header(&entry(Kind::File(size)))?;
            self.frames.write(&self.content)?;
            self.pad(size)?;
            changed |= size != expected;
            size
        } else {
            changed |= self.large(&opened, &stat, path, &entry)?;
            expected
        };
        if changed {
            self.packed.changed += 1;
        }
        self.files += 1;
        self.packed.entries += 1;
        self.packed.bytes += written;
        Ok(())
    }

    /// Reads a file of about this size into `content`.
    fn read_small(&mut self, file: &OwnedFd, expected: u64) -> Result<(), Errno> {
        self.content.clear();
        loop {
            // One byte more than expected shows whether it has grown.
            self.content.reserve(expected as usize + 1 - self.content.len().min(expected as usize));
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::read(file, rustix::buffer::spare_capacity(&mut self.content))
            })?;
            if read == 0 || self.content.len() as u64 == expected {
                return Ok(());
            }
        }
    }

    /// Copies a file through; returns whether it changed meanwhile.
    fn large<'e>(
        &mut self,
        file: &OwnedFd,
        stat: &Stat,
        path: &'e [u8],
        entry: &dyn Fn(Kind<'e>) -> Entry<'e>,
    ) -> Result<bool, PackError> {
        let io = |errno| PackError::io(path, errno);
        let size = size(stat);
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX);
        let Some(extents) = extents::of(file, size, blocks).map_err(io)? else {
            self.write_header(&entry(Kind::File(size)))?;
            let short = self.copy(file, size, path)?;
            self.pad(size)?;
            return Ok(short);
        };
        let list = extents::encode(&extents, size);
        let entry = entry(Kind::File(0));
        let kind = Kind::Sparse(size, &extents, list.len() as u64);
        self.write_header(&Entry { path, kind, meta: entry.meta, xattrs: entry.xattrs })?;
        self.frames.write(&list)?;
        let mut short = false;
        let mut total = 0;
        for (offset, length) in &extents {
            rustix::fs::seek(file, rustix::fs::SeekFrom::Start(*offset)).map_err(io)?;
            short |= self.copy(file, *length, path)?;
            total += length;
        }
        self.pad(total)?;
        Ok(short)
    }

    /// Copies that much of a file; what is missing becomes zeros, so that the archive stays whole.
    fn copy(&mut self, file: &OwnedFd, length: u64, path: &[u8]) -> Result<bool, PackError> {
        let mut left = length;
        while left > 0 {
            if self.stop.load(Ordering::Relaxed) {
                return Err(PackError::Stopped);
            }
            let want = left.min(STRIDE);
            let read = self.frames.read(file.as_fd(), want).map_err(|error| (path, error))?;
            left -= read;
            if read < want {
                self.frames.zeros(left)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn vanished(&mut self, path: &[u8]) -> Option<OwnedFd> {
        left_out(&mut self.notices, path, "it vanished while the volume was packed");
        self.packed.changed += 1;
        None
    }

    fn write_header(&mut self, entry: &Entry<'_>) -> Result<(), PackError> {
        self.header.clear();
        header::write(entry, &mut self.header);
        self.frames.write(&self.header)
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        self.frames.zeros(size.next_multiple_of(BLOCK as u64) - size)
    }

    fn finish(mut self) -> Result<Packed, PackError> {
        let mut end = Vec::new();
        header::end(&mut end);
        self.frames.write(&end)?;
        if self.files != self.survey.files.len() {
            self.packed.changed += 1;
        }
        if self.packed.changed > 0 {
            self.notices.add("files changed while the volume was packed".to_owned());
        }
        self.packed.notices = self.notices.into_vec();
        Ok(self.packed)
    }
}
