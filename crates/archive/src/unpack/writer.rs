//! Threads that create files.
//!
//! They take their work from one queue, and so do it in no particular order: whoever needs one, because
//! something takes the place of something else, waits with [`Writers::settle`].
//!
//! They need nothing from whoever gives them work: what waits in their queue is written, whatever that
//! thread waits for, as long as it has [announced](Writers::announcer) it before.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Gid, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fsetxattr,
    fstat, ftruncate, futimens, openat, symlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::place::Place;
use super::tally::Tally;
use crate::error::UnpackError;
use crate::flow::control::{Control, Stage, Stopped};
use crate::flow::queue::{Receiver, Sender, queue};
use crate::flow::threads::spawn;
use crate::format::extents::Extents;
use crate::hash::{ContentHash, hash, hash_zeros};
use crate::notices::Notices;
use crate::tree::file_index::{PathKey, stamp};
use crate::tree::stat::{Meta, Time};
use crate::tree::walk::mode;
use crate::tree::xattr::{self, Xattr};

/// More threads do not create more files in the same time.
const MAX_WRITERS: usize = 8;

/// Jobs go to a thread so many at a time: to wake it up costs as much as to create a file.
const BATCH: usize = 32;

/// For how many batches there is room for each thread. They refer to content that is in memory.
const WAITING: usize = 2;

/// How many pieces of a large file wait for the thread that writes it.
const PIECES: usize = 4;

/// A file before its content.
pub struct NewFile {
    pub path: Vec<u8>,
    pub key: PathKey,
    pub place: Place,
    pub meta: Meta,
    pub xattrs: Vec<Xattr>,
    pub size: u64,
    /// Where the data belongs, for a sparse file.
    pub extents: Option<Extents>,
    /// Of all files, in the order of the archive.
    pub number: usize,
}

pub struct NewLink {
    pub path: Vec<u8>,
    pub place: Place,
    pub target: Vec<u8>,
    pub meta: Meta,
    pub xattrs: Vec<Xattr>,
}

enum Job {
    File(Box<NewFile>, Vec<Bytes>),
    /// A file whose content comes piece by piece. A sender that goes away before `None` has failed.
    Large(Box<NewFile>, Receiver<Option<Bytes>>),
    Link(Box<NewLink>),
}

pub struct Writers<'scope> {
    jobs: Arc<Sender<Job>>,
    threads: Vec<ScopedJoinHandle<'scope, Option<Done>>>,
    failed: Arc<Failed>,
    control: Control,
}

/// The first error of any thread.
type Failed = Mutex<Option<UnpackError>>;

/// What a thread did.
#[derive(Default)]
pub struct Done {
    pub files: Vec<Written>,
    pub notices: Notices,
}

/// A file that is there.
pub struct Written {
    pub key: PathKey,
    pub stamp: u64,
    pub content: ContentHash,
    pub has_xattrs: bool,
}

/// Where the content of a large file goes.
pub struct Open(Sender<Option<Bytes>>);

impl<'scope> Writers<'scope> {
    /// Starts at most `threads` threads, which tell `tally` the hashes of contents. If one fails, all that
    /// `control` controls is stopped, and [`error_of`] says why.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        threads: usize,
        tally: &Arc<Tally>,
        control: &Control,
    ) -> Self {
        let count = threads.min(MAX_WRITERS);
        let failed = Arc::new(Failed::default());
        let owner = Owner::current();
        let (jobs, received) = queue(control, (WAITING * count + 1) * BATCH);
        let start = |_| {
            let (received, failed) = (received.clone(), failed.clone());
            let (tally, control) = (tally.clone(), control.clone());
            spawn(scope, &control.clone(), "write", move || {
                let writer =
                    Writer { owner, tally: &tally, control: &control, done: Done::default() };
                write(&received, writer, &failed)
            })
        };
        let threads = (0..count).filter_map(start).collect();
        Self { jobs: Arc::new(jobs), threads, failed, control: control.clone() }
    }

    /// Wakes a thread for what is in the queue. To be called before every wait for something else.
    pub fn announcer(&self) -> Box<dyn Fn() + Send + 'static> {
        let jobs = Arc::downgrade(&self.jobs);
        Box::new(move || {
            if let Some(jobs) = jobs.upgrade() {
                jobs.announce();
            }
        })
    }

    /// Creates a file with all of its content.
    pub fn file(&mut self, file: NewFile, content: Vec<Bytes>) -> Result<(), UnpackError> {
        self.add(Job::File(Box::new(file), content))
    }

    /// Creates a file whose content follows.
    pub fn open(&mut self, file: NewFile) -> Result<Open, UnpackError> {
        let (sender, pieces) = queue(&self.control, PIECES);
        self.add(Job::Large(Box::new(file), pieces))?;
        // A thread has to take it before the pieces can go anywhere.
        self.jobs.announce();
        Ok(Open(sender))
    }

    pub fn data(&self, open: &Open, data: Bytes) -> Result<(), UnpackError> {
        Ok(open.0.send(Some(data))?)
    }

    pub fn end(&self, open: Open) -> Result<(), UnpackError> {
        Ok(open.0.send(None)?)
    }

    pub fn link(&mut self, link: NewLink) -> Result<(), UnpackError> {
        self.add(Job::Link(Box::new(link)))
    }

    /// Waits until everything that was asked for is there.
    pub fn settle(&mut self) -> Result<(), UnpackError> {
        Ok(self.jobs.settle()?)
    }

    /// Ends the threads.
    pub fn finish(self) -> Result<Vec<Done>, UnpackError> {
        // What a thread is still doing may fail.
        self.jobs.settle()?;
        drop(self.jobs);
        let done = self.threads.into_iter().map(|thread| thread.join().ok().flatten());
        done.collect::<Option<_>>().ok_or(UnpackError::Stopped)
    }

    /// Why the threads have stopped everything, for the one who started them.
    pub fn failed(&self) -> Arc<Failed> {
        self.failed.clone()
    }

    fn add(&self, job: Job) -> Result<(), UnpackError> {
        Ok(self.jobs.send_in_batches(job, BATCH)?)
    }
}

/// Takes the first error of any thread.
pub fn error_of(failed: &Failed) -> Option<UnpackError> {
    failed.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn write(jobs: &Receiver<Job>, mut writer: Writer<'_>, failed: &Failed) -> Done {
    while let Ok(batch) = jobs.recv_many(BATCH)
        && !batch.is_empty()
    {
        let count = batch.len();
        let mut writing = None;
        for job in batch {
            let done = match job {
                Job::Large(file, pieces) => {
                    // This one waits for others.
                    writing = None;
                    writer.large(file, &pieces)
                }
                job => {
                    writing.get_or_insert_with(|| writer.control.enter(Stage::Write));
                    writer.control.step();
                    match job {
                        Job::File(file, content) => writer.file(file, content),
                        Job::Link(link) => {
                            writer.link(&link).map_err(|errno| UnpackError::io(&link.path, errno))
                        }
                        Job::Large(..) => Ok(()),
                    }
                }
            };
            if let Err(error) = done {
                if !matches!(error, UnpackError::Stopped) {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert(error);
                }
                writer.control.stop();
                return writer.done;
            }
        }
        jobs.finish(count);
    }
    writer.done
}

struct Writer<'a> {
    owner: Owner,
    tally: &'a Tally,
    control: &'a Control,
    done: Done,
}

/// How much is hashed and then written at a time, in bytes: few enough that the second finds it in the cache of
/// the processor's core.
const PIECE: usize = 512 << 10;

/// A file that is being written.
struct Opened<'a> {
    file: OwnedFd,
    control: &'a Control,
    new: Box<NewFile>,
    /// How much data has come.
    position: u64,
    /// Which part of a sparse file is being written.
    part: usize,
    hasher: blake3::Hasher,
    /// Up to where a sparse file was hashed.
    hashed: u64,
}

impl Writer<'_> {
    fn file(&mut self, file: Box<NewFile>, content: Vec<Bytes>) -> Result<(), UnpackError> {
        self.control.check()?;
        let mut opened = Opened::create(file, self.control)?;
        for data in content {
            opened.write(&data)?;
        }
        self.close(opened)
    }

    fn large(
        &mut self,
        file: Box<NewFile>,
        pieces: &Receiver<Option<Bytes>>,
    ) -> Result<(), UnpackError> {
        let writing = self.control.enter(Stage::Write);
        let mut opened = Opened::create(file, self.control)?;
        drop(writing);
        loop {
            let piece = pieces.recv()?;
            let _writing = self.control.enter(Stage::Write);
            match piece {
                Some(Some(data)) => opened.write(&data)?,
                Some(None) => return self.close(opened),
                // Whoever had the pieces has failed and says so.
                None => return Err(Stopped.into()),
            }
        }
    }

    fn close(&mut self, opened: Opened<'_>) -> Result<(), UnpackError> {
        let number = opened.new.number;
        let done = opened.finish(self.owner, &mut self.done.notices)?;
        self.tally.content(number, done.content);
        self.done.files.push(done);
        Ok(())
    }

    fn link(&mut self, link: &NewLink) -> Result<(), Errno> {
        let Place { directory, name } = &link.place;
        symlinkat(link.target.as_slice(), directory, name)?;
        if let Some((uid, gid)) = self.owner.given(&link.meta) {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)?;
        }
        for xattr in &link.xattrs {
            tell(
                xattr::set_of_link(directory, name, xattr),
                &link.path,
                xattr,
                &mut self.done.notices,
            )?;
        }
        utimensat(directory, name, &times(link.meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }
}

impl<'a> Opened<'a> {
    fn create(new: Box<NewFile>, control: &'a Control) -> Result<Self, UnpackError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Place { directory, name } = &new.place;
        let file = openat(directory, name, flags, mode(new.meta.mode & 0o777))
            .map_err(|errno| UnpackError::io(&new.path, errno))?;
        let hasher = blake3::Hasher::new();
        Ok(Self { file, control, new, position: 0, part: 0, hasher, hashed: 0 })
    }

    fn write(&mut self, data: &[u8]) -> Result<(), UnpackError> {
        if self.new.extents.is_some() {
            return self.write_parts(data);
        }
        self.position += data.len() as u64;
        for piece in data.chunks(PIECE) {
            self.hasher.update(piece);
            let mut done = 0;
            while done < piece.len() {
                let write = || rustix::io::write(&self.file, &piece[done..]);
                let written = rustix::io::retry_on_intr(write);
                done += written.map_err(|errno| UnpackError::io(&self.new.path, errno))?;
            }
        }
        Ok(())
    }

    /// The same for a file with holes.
    fn write_parts(&mut self, mut data: &[u8]) -> Result<(), UnpackError> {
        let Some(extents) = &self.new.extents else { return Ok(()) };
        while !data.is_empty() {
            // The list was checked to be as long as the data.
            let Some((offset, length)) = extents.get(self.part).copied() else { return Ok(()) };
            if self.position == length {
                self.part += 1;
                self.position = 0;
                continue;
            }
            let room = usize::try_from(length - self.position).unwrap_or(usize::MAX);
            let (now, rest) = data.split_at(data.len().min(room));
            let at = offset + self.position;
            hash_zeros(&mut self.hasher, at - self.hashed, self.control, Stage::Write)?;
            hash(&mut self.hasher, now);
            self.hashed = at + now.len() as u64;
            let mut done = 0;
            while done < now.len() {
                let write = || rustix::io::pwrite(&self.file, &now[done..], at + done as u64);
                let written = rustix::io::retry_on_intr(write);
                done += written.map_err(|errno| UnpackError::io(&self.new.path, errno))?;
            }
            self.position += now.len() as u64;
            data = rest;
        }
        Ok(())
    }

    fn finish(mut self, owner: Owner, notices: &mut Notices) -> Result<Written, UnpackError> {
        let NewFile { path, key, meta, xattrs, size, extents, .. } = &*self.new;
        let mut set = || {
            if extents.is_some() {
                ftruncate(&self.file, *size)?;
            }
            attributes(self.file.as_fd(), meta, xattrs, owner, path, notices)?;
            futimens(&self.file, &times(meta.mtime))?;
            let mut stat = fstat(&self.file)?;
            // A directory with the setgid bit gives its own group to what is made in it.
            if let Some((uid, gid)) = owner.still_to_set(meta, &stat) {
                fchown(&self.file, Some(uid), Some(gid))?;
                stat = fstat(&self.file)?;
            }
            // The process's mask, an inherited access control list or the change of the owner may have
            // taken something away.
            if stat.st_mode & 0o7777 == meta.mode {
                return Ok(stat);
            }
            fchmod(&self.file, mode(meta.mode))?;
            fstat(&self.file)
        };
        let stat = set().map_err(|errno| UnpackError::io(path, errno))?;
        if extents.is_some() {
            hash_zeros(&mut self.hasher, size - self.hashed, self.control, Stage::Write)?;
        }
        let content = *self.hasher.finalize().as_bytes();
        let has_xattrs = !xattrs.is_empty();
        Ok(Written { key: *key, stamp: stamp(*key, &stat), content, has_xattrs })
    }
}

/// Gives something that is open its owner and its attributes.
pub fn attributes(
    file: BorrowedFd<'_>,
    meta: &Meta,
    xattrs: &[Xattr],
    owner: Owner,
    path: &[u8],
    notices: &mut Notices,
) -> Result<(), Errno> {
    if let Some((uid, gid)) = owner.to_set(meta) {
        fchown(file, Some(uid), Some(gid))?;
    }
    for xattr in xattrs {
        let set = fsetxattr(file, &xattr.0, &xattr.1, XattrFlags::empty());
        tell(set, path, xattr, notices)?;
    }
    Ok(())
}

/// An attribute that this file system or user cannot have is left out.
fn tell(
    set: Result<(), Errno>,
    path: &[u8],
    (name, _): &Xattr,
    notices: &mut Notices,
) -> Result<(), Errno> {
    match set {
        Err(
            Errno::PERM
            | Errno::OPNOTSUPP
            | Errno::ACCESS
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::INVAL,
        ) => {
            notices.add(format!(
                "`{}` has no attribute `{}`: it cannot be set here",
                crate::path::shown(path),
                name.to_bytes().escape_ascii()
            ));
            Ok(())
        }
        set => set,
    }
}

pub fn times(mtime: Time) -> Timestamps {
    let modified = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    // The time of the last access is nothing that an archive keeps.
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    Timestamps { last_access: now, last_modification: modified }
}

/// Who creates the files.
#[derive(Clone, Copy)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    pub fn current() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }

    /// The owner to be set for what this process has just made: only root gives files away.
    fn to_set(self, meta: &Meta) -> Option<(Uid, Gid)> {
        self.given(meta).filter(|_| (self.uid, self.gid) != (meta.uid, meta.gid))
    }

    /// The same if the owner is known.
    fn still_to_set(self, meta: &Meta, stat: &Stat) -> Option<(Uid, Gid)> {
        self.given(meta).filter(|_| (stat.st_uid, stat.st_gid) != (meta.uid, meta.gid))
    }

    /// The owner that an entry is to have whoever makes it.
    fn given(self, meta: &Meta) -> Option<(Uid, Gid)> {
        // The last number stands for "leave it".
        let valid = meta.uid != u32::MAX && meta.gid != u32::MAX;
        (self.uid == 0 && valid).then(|| (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid)))
    }

    /// Whether this process may change the mode of something open.
    pub fn has(self, file: BorrowedFd<'_>) -> bool {
        self.uid == 0 || fstat(file).is_ok_and(|stat| stat.st_uid == self.uid)
    }

    /// Makes something open this process's own, whatever directory it was made in.
    pub fn take(self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = fstat(file)?;
        if self.uid != 0 || (stat.st_uid, stat.st_gid) == (self.uid, self.gid) {
            return Ok(());
        }
        fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }
}
