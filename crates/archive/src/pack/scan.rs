//! A look at a tree: is it still the one that an archive was made of?
//!
//! Restored files were hashed while they were written. A file counts as unchanged if its size, modification
//! time and status change time are what the file index says; all others are read. The digest decides. It
//! leaves out times and owners, which differ from machine to machine. This scan comes before packing only if
//! the cache has a digest that the tree could be equal to, or if nothing but the metadata has a place for one
//! (gzip, plain tar). If files change between the scan and their packing, the persist starts over without it.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, open, readlinkat, statat};
use rustix::io::Errno;

use crate::error::PackError;
use crate::flow::control::{Control, Stage};
use crate::hash::{ContentHash, TreeDigest};
use crate::options::PackOptions;
use crate::path::shown;
use crate::tree::digest::{Digester, Record};
use crate::tree::file_index::{FileIndex, path_key, stamp};
use crate::tree::policy::{packed, refused_by_way, refused_link};
use crate::tree::stat::{kind, size};
use crate::tree::walk::{DIRECTORY, Found, open_directory, open_file, walk};
use crate::tree::xattr::{self, Xattr};

/// What a tree holds.
#[derive(Debug)]
pub struct Scan {
    /// Over paths, types, modes, sizes, contents, links and users' attributes. Not over times and
    /// owners, which change from machine to machine.
    pub digest: TreeDigest,
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
    /// How much of that had to be read.
    pub bytes_read: u64,
}

impl Scan {
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// Looks at everything below `root`. A file is only read if `known` does not have it, or not as it is.
pub fn scan(
    root: &Path,
    known: Option<&FileIndex>,
    options: &PackOptions,
    control: &Control,
) -> Result<Scan, PackError> {
    let root = open(root, DIRECTORY, Mode::empty()).map_err(|errno| PackError::io(b"", errno))?;
    let root_stat = fstat(&root).map_err(|errno| PackError::io(b"", errno))?;
    let root_stat = packed(options.setuid, b"", root_stat)?;
    let top = root.as_fd().try_clone_to_owned().map_err(PackError::Root)?;
    let mut scanner = Scanner {
        root: top,
        device: root_stat.st_dev,
        known,
        options,
        control,
        xattrs: xattr::Reader::default(),
        inodes: HashMap::new(),
        batch: Vec::new(),
        directories: 0,
        digester: Digester::default(),
        scan: Scan { digest: TreeDigest([0; 32]), entries: 0, bytes: 0, bytes_read: 0 },
    };
    let attributes = scanner.xattrs.read(scanner.root.as_fd());
    let attributes = attributes.map_err(|errno| PackError::io(b"", errno))?;
    scanner.batch.push(Record::directory(&root_stat, b"", &attributes).into());
    walk(root, control, &mut |found| scanner.visit(&found))?;
    scanner.digest_batch()?;
    scanner.scan.digest = scanner.digester.finish();
    Ok(scanner.scan)
}

struct Scanner<'a> {
    root: OwnedFd,
    device: u64,
    known: Option<&'a FileIndex>,
    options: &'a PackOptions,
    control: &'a Control,
    xattrs: xattr::Reader,
    /// Files with several names, by inode, and the first of them.
    inodes: HashMap<u64, Vec<u8>>,
    /// Entries whose content is to be hashed, all at the same time.
    batch: Vec<Pending>,
    /// In how many directories the files of the batch are; each one is kept open.
    directories: usize,
    digester: Digester,
    scan: Scan,
}

const BATCH: usize = 4096;
const BATCH_DIRECTORIES: usize = 64;

/// An entry on its way into the digest.
struct Pending {
    record: Record,
    file: Option<PendingFile>,
}

impl From<Record> for Pending {
    fn from(record: Record) -> Self {
        Self { record, file: None }
    }
}

struct PendingFile {
    directory: Arc<OwnedFd>,
    name: CString,
    path: Vec<u8>,
    size: u64,
    /// Content and attributes, as far as they are known without a look.
    found: Option<(ContentHash, Vec<Xattr>)>,
}

impl Scanner<'_> {
    fn visit(&mut self, found: &Found<'_>) -> Result<Option<OwnedFd>, PackError> {
        let Found { directory, name, path, .. } = found;
        let io = |errno| PackError::io(path, errno);
        let reading = self.control.enter(Stage::Pack);
        let stat = match statat(directory, *name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_dev == self.device => stat,
            // Another file system is not part of the volume.
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(io(errno)),
        };
        let type_ = kind(&stat);
        if !is_kept(type_) {
            return Ok(None);
        }
        let mut into = None;
        let pending = match type_ {
            FileType::Directory => {
                let opened = match open_directory(directory, name) {
                    Ok(opened) => opened,
                    Err(Errno::NOENT) => return Ok(None),
                    Err(errno) => return Err(io(errno)),
                };
                let xattrs = self.xattrs.read(opened.as_fd()).map_err(io)?;
                let stat = packed(self.options.setuid, path, stat)?;
                into = Some(opened);
                Record::directory(&stat, path, &xattrs).into()
            }
            FileType::Symlink => {
                let target = match readlinkat(directory, *name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT) => return Ok(None),
                    Err(errno) => return Err(io(errno)),
                };
                check_link(self.options, self.root.as_fd(), path, target.to_bytes())?;
                Record::symlink(&stat, path, target.to_bytes()).into()
            }
            _ => match other_name(&mut self.inodes, &stat, path) {
                Some(first) => {
                    let stat = packed(self.options.setuid, path, stat)?;
                    Record::hardlink(&stat, path, &first).into()
                }
                None => self.file(found, &stat)?,
            },
        };
        drop(reading);
        self.scan.entries += 1;
        self.batch.push(pending);
        if self.batch.len() >= BATCH || self.directories >= BATCH_DIRECTORIES {
            self.digest_batch()?;
        }
        Ok(into)
    }

    fn file(&mut self, found: &Found<'_>, stat: &Stat) -> Result<Pending, PackError> {
        let kept = packed(self.options.setuid, found.path, *stat)?;
        let size = size(stat);
        let key = path_key(found.path);
        let stamp = stamp(key, stat);
        let record = Record::file(&kept, found.path, size);
        let last = self.batch.last().and_then(|pending| pending.file.as_ref());
        if last.is_none_or(|last| !Arc::ptr_eq(&last.directory, found.directory)) {
            self.directories += 1;
        }
        // What is known has no attributes.
        let known = self.known.and_then(|known| known.content(key, stamp));
        let file = PendingFile {
            directory: found.directory.clone(),
            name: found.name.to_owned(),
            path: found.path.to_owned(),
            size,
            found: known.map(|content| (content, Vec::new())),
        };
        Ok(Pending { record, file: Some(file) })
    }

    fn digest_batch(&mut self) -> Result<(), PackError> {
        let (control, xattrs) = (self.control, &self.xattrs);
        let bytes: u64 = self
            .batch
            .par_iter_mut()
            .filter_map(|pending| pending.file.as_mut())
            .filter(|file| file.found.is_none())
            .map(|file| {
                file.found = Some(read(file, xattrs, control)?);
                Ok::<_, PackError>(file.size)
            })
            .try_reduce(|| 0, |a, b| Ok(a + b))?;
        self.scan.bytes_read += bytes;
        for Pending { mut record, file } in self.batch.drain(..) {
            let size = file.as_ref().map_or(0, |file| file.size);
            let found = file.and_then(|file| file.found);
            if let Some((_, xattrs)) = &found {
                record.attributes(xattrs);
            }
            let content = found.as_ref().map(|(content, _)| content);
            self.digester.add(&record, content);
            self.scan.bytes += size;
        }
        self.directories = 0;
        Ok(())
    }
}

/// Whether an archive keeps entries of this type.
pub(crate) fn is_kept(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink)
}

/// The first path of a file that has several names, unless this is the first.
pub(crate) fn other_name(
    inodes: &mut HashMap<u64, Vec<u8>>,
    stat: &Stat,
    path: &[u8],
) -> Option<Vec<u8>> {
    if stat.st_nlink < 2 {
        return None;
    }
    match inodes.get(&stat.st_ino) {
        Some(first) => Some(first.clone()),
        None => {
            inodes.insert(stat.st_ino, path.to_vec());
            None
        }
    }
}

pub(crate) fn check_link(
    options: &PackOptions,
    root: rustix::fd::BorrowedFd<'_>,
    path: &[u8],
    target: &[u8],
) -> Result<(), PackError> {
    let links = options.outside_links;
    let reason =
        refused_link(links, path, target).or_else(|| refused_by_way(links, root, path, target));
    match reason {
        Some(reason) => Err(PackError::Refused { path: shown(path), reason }),
        None => Ok(()),
    }
}

/// Small files are read by one call into a buffer of this size.
const SMALL: u64 = 256 << 10;

/// Larger ones by calls of this size, each hashed on all cores.
const LARGE_READ: usize = 4 << 20;

/// Content and attributes of a file.
fn read(
    file: &PendingFile,
    xattrs: &xattr::Reader,
    control: &Control,
) -> Result<(ContentHash, Vec<Xattr>), PackError> {
    let io = |errno| PackError::io(&file.path, errno);
    let _reading = control.enter(Stage::Pack);
    let opened = match open_file(&file.directory, &file.name) {
        Ok(opened) => opened,
        // Whoever packs it will notice.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(([0; 32], Vec::new())),
        Err(errno) => return Err(io(errno)),
    };
    if kind(&fstat(&opened).map_err(io)?) != FileType::RegularFile {
        return Ok(([0; 32], Vec::new()));
    }
    let found = xattrs.read(opened.as_fd()).map_err(io)?;
    let capacity = match file.size {
        // One byte more shows the end without another call.
        size if size <= SMALL => size as usize + 1,
        _ => LARGE_READ,
    };
    let mut buffer = Vec::with_capacity(capacity);
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    loop {
        control.check()?;
        let _reading = control.enter(Stage::Pack);
        buffer.clear();
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::read(&opened, rustix::buffer::spare_capacity(&mut buffer))
        });
        total += read.map_err(io)? as u64;
        match buffer.len() {
            0 => break,
            _ if capacity == LARGE_READ => hasher.update_rayon(&buffer),
            _ => hasher.update(&buffer),
        };
        if capacity != LARGE_READ && total == file.size {
            break;
        }
    }
    Ok((*hasher.finalize().as_bytes(), found))
}
