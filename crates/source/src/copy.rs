//! A copy that is being made: its directories, files and links.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::ThreadPool;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, readlinkat, statat, symlinkat, utimensat};
use rustix::io::Errno;

use super::batch::each;
use super::content::{Abilities, Copier, Failure, settled};
use super::destination::{Destination, times};
use super::error::SourceError;
use super::handle::open_below;
use super::links::Links;
use super::listing::{Directory, Entry, Kind, Stamp};
use super::made::{Made, MadeFiles, is_settled};
use super::progress::Progress;

/// How many files of a directory a thread copies before it looks for others.
const BATCH: usize = 256;

/// Files of this size and more are copied first, so that no thread has one at the end while others have nothing.
const LARGE: u64 = 4 << 20;

/// A copy that is being made.
pub struct Copy<'a> {
    pub destination: &'a Destination,
    pub progress: &'a Progress,
    /// Notes what is copied, if anybody asks for it.
    made: Option<&'a MadeFiles>,
    abilities: Abilities,
    files: AtomicU64,
    bytes: AtomicU64,
    /// Device and inode of files with several names that were copied as they were listed.
    linkable: Mutex<HashSet<(u64, u64)>>,
}

/// What was copied of an entry.
#[derive(Default)]
struct Copied {
    bytes: u64,
    /// What the entry was when it was read, as far as that is certain.
    source: Option<Stamp>,
}

/// Entries of one directory that one thread copies.
struct Batch<'a> {
    directory: &'a Directory,
    number: usize,
    start: usize,
    end: usize,
}

impl<'a> Copy<'a> {
    pub fn new(
        destination: &'a Destination,
        progress: &'a Progress,
        made: Option<&'a MadeFiles>,
    ) -> Self {
        Self {
            destination,
            progress,
            made,
            abilities: Abilities::default(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            linkable: Mutex::default(),
        }
    }

    /// Copies all entries but further names of files.
    pub fn entries(
        &self,
        pool: &ThreadPool,
        directories: &[Directory],
        links: &Links,
    ) -> Result<(), SourceError> {
        let (mut batches, mut rest) = (Vec::new(), Vec::new());
        for (number, directory) in directories.iter().enumerate() {
            let mut start = 0;
            for (at, entry) in directory.entries.iter().enumerate() {
                if entry.stamp.size >= LARGE {
                    rest.push(Batch { directory, number, start, end: at });
                    batches.push(Batch { directory, number, start: at, end: at + 1 });
                    start = at + 1;
                } else if at + 1 - start == BATCH {
                    rest.push(Batch { directory, number, start, end: at + 1 });
                    start = at + 1;
                }
            }
            rest.push(Batch { directory, number, start, end: directory.entries.len() });
        }
        batches.extend(rest.into_iter().filter(|batch| batch.start < batch.end));
        let copier = || self.copier();
        each(pool, &batches, copier, |copier, batch| self.batch(copier, batch, links))
    }

    fn batch(
        &self,
        copier: &mut Copier<'_>,
        batch: &Batch<'_>,
        links: &Links,
    ) -> Result<(), SourceError> {
        let Batch { directory, number, start, end } = *batch;
        let Some(from) = open_source(directory)? else { return Ok(()) };
        let to = self.destination.directory(&directory.path)?;
        let mut made = Vec::new();
        for at in start..end {
            self.progress.check()?;
            if !links.is_other((number, at)) {
                let entry = &directory.entries[at];
                let source = self.entry(copier, directory, entry, from.as_fd(), to.as_fd())?;
                if self.made.is_some()
                    && let Some(source) = source
                {
                    made.extend(Made::of(to.as_fd(), entry, source));
                }
            }
        }
        if let Some(files) = self.made {
            files.add(&directory.path, made);
        }
        Ok(())
    }

    /// Returns what the entry was when it was copied, if it was and that is certain.
    pub fn entry(
        &self,
        copier: &mut Copier<'_>,
        directory: &Directory,
        entry: &Entry,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> Result<Option<Stamp>, SourceError> {
        let copied = match entry.kind {
            Kind::Symlink => self.symlink(directory, entry, from, to)?,
            Kind::File => self.file(copier, directory, entry, from, to)?,
        };
        let Some(Copied { bytes, source }) = copied else { return Ok(None) };
        self.count(bytes);
        Ok(source)
    }

    pub fn copier(&self) -> Copier<'_> {
        Copier::new(&self.abilities, self.progress)
    }

    /// Whether a file with several names was copied as it was listed.
    pub fn is_linkable(&self, entry: &Entry) -> bool {
        let linkable = self.linkable.lock().unwrap_or_else(PoisonError::into_inner);
        linkable.contains(&entry.identity())
    }

    /// How many files and bytes were copied.
    pub fn counted(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub fn count(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.progress.add(1, bytes);
    }

    /// Returns what was copied and how many bytes that were, and `None` if nothing was.
    fn file(
        &self,
        copier: &mut Copier<'_>,
        directory: &Directory,
        entry: &Entry,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> Result<Option<Copied>, SourceError> {
        let path = &directory.path.join(&entry.name);
        let mut target: Option<(OwnedFd, u32)> = None;
        let copied = settled(from, entry, path, |file, stamp| {
            let made = match target.take() {
                Some((made, mode)) => {
                    restart(&made).map_err(Failure::Write)?;
                    (made, mode)
                }
                None => match self.destination.create(to, &entry.name, stamp.mode) {
                    Ok(made) => (made, stamp.mode),
                    // The same object from another repository.
                    Err(Errno::EXIST) if directory.from.is_merged => return Ok(0),
                    Err(errno) => return Err(Failure::Write(errno)),
                },
            };
            let (made, _) = target.insert(made);
            copier.copy(file, made, stamp)
        })?;
        let write = |errno| SourceError::write(path, errno);
        match (copied, target) {
            (Some((stamp, bytes)), Some((made, mode))) => {
                self.destination.finish_file(&made, mode, &stamp).map_err(write)?;
                if stamp.links > 1 && stamp.inode == entry.stamp.inode {
                    let mut linkable = self.linkable.lock().unwrap_or_else(PoisonError::into_inner);
                    linkable.insert(entry.identity());
                }
                Ok(Some(Copied { bytes, source: Some(stamp) }))
            }
            (None, Some(_)) => {
                rustix::fs::unlinkat(to, &*entry.name, AtFlags::empty()).map_err(write)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn symlink(
        &self,
        directory: &Directory,
        entry: &Entry,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> Result<Option<Copied>, SourceError> {
        let path = &directory.path.join(&entry.name);
        let is_settled = is_settled(entry.stamp.changed);
        let target = match readlinkat(from, &*entry.name, Vec::new()) {
            Ok(target) => target,
            // It has gone, or something else has taken its place.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(SourceError::read(path, errno)),
        };
        let write = |errno| SourceError::write(path, errno);
        match symlinkat(target.as_c_str(), to, &*entry.name) {
            Err(Errno::EXIST) if directory.from.is_merged => return Ok(None),
            made => made.map_err(write)?,
        }
        let times = times(&entry.stamp);
        utimensat(to, &*entry.name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(write)?;
        // A link has no content that could be read while it is open.
        let is_known = self.made.is_some()
            && is_settled
            && statat(from, &*entry.name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| Stamp::of(&stat).is_same_content(&entry.stamp));
        Ok(Some(Copied { bytes: 0, source: is_known.then_some(entry.stamp) }))
    }

    /// Writes a file that has no equal in the project.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), SourceError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        self.destination.remove(parent, name)?;
        let directory = self.destination.directory(parent)?;
        let failed = |errno| SourceError::write(path, errno);
        let file = self.destination.create(directory, name, 0o644).map_err(failed)?;
        let written = std::io::Write::write_all(&mut std::fs::File::from(file), content);
        written.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        self.count(content.len() as u64);
        Ok(())
    }
}

/// Opens the directory that entries are read from. `None` if it is gone.
pub fn open_source(directory: &Directory) -> Result<Option<OwnedFd>, SourceError> {
    match open_below(&directory.from.root, &directory.from.path) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(SourceError::read(&directory.path, errno)),
    }
}

/// Makes a file empty again.
fn restart(file: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::ftruncate(file, 0)?;
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).map(drop)
}

/// The path of an entry in the copy.
pub type Key<'a> = (&'a PathBuf, &'a std::ffi::OsString);
