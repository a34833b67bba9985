//! Small files, read by several threads ahead of whoever packs them and handed over in order.
//!
//! Most of the time of a small file goes into opening and closing it, which more than one thread can do
//! at the same time. What they make are the finished blocks of the archive.
//!
//! What is hashed are the bytes that are packed, so the digest of an archive is that of its content, whatever
//! happens to the tree meanwhile.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use crate::error::PackError;
use crate::flow::control::{Control, Stage};
use crate::flow::ordered::{Consumer, Producer, Slot, ordered};
use crate::flow::queue::{Sender, queue};
use crate::flow::threads::spawn;
use crate::format::header::{self, BLOCK, Entry, Kind};
use crate::hash::ContentHash;
use crate::notices::left_out;
use crate::options::Setuid;
use crate::tree::digest::{Record, Records};
use crate::tree::policy::{drop_capability, dropped, dropped_capability, packed};
use crate::tree::stat::{Meta, kind, size};
use crate::tree::walk::open_file;
use crate::tree::xattr::{self, Xattr};

/// More threads would need more memory than a pack may take.
const MAX_READERS: usize = 8;

/// Steps go to a thread so many at a time: to wake it up costs as much as to read a file.
const STEPS: usize = 64;

/// How many directories the steps of one thread may keep open.
const DIRECTORIES: usize = 8;

/// How many stretches of steps are under way for each thread.
const WAITING: usize = 2;

/// Larger files are read by whoever packs them, in bytes.
const SMALL: u64 = 128 << 10;

/// What is read ahead in one batch, in bytes, give or take a file.
const STRETCH: usize = 512 << 10;

/// What the archive is to have next.
pub enum Step {
    File(FileStep),
    /// An entry without content, which has been looked at.
    Ready {
        header: Vec<u8>,
        record: Record,
        /// What counts besides the header when it is unpacked.
        charged: u64,
    },
}

pub struct FileStep {
    pub directory: Arc<OwnedFd>,
    pub name: CString,
    pub path: Vec<u8>,
}

/// A file that was opened and not read.
pub struct Opened {
    pub file: OwnedFd,
    pub stat: Stat,
    pub path: Vec<u8>,
}

/// What became of some steps.
pub struct Batch {
    pub blocks: Blocks,
    /// What comes after the blocks: a large file, or one with several names, of which the first one in
    /// the archive has the content.
    pub opened: Option<Opened>,
    /// The steps after that.
    pub rest: VecDeque<Step>,
}

/// A piece of an archive, and what has to be known of it.
#[derive(Default)]
pub struct Blocks {
    pub bytes: Vec<u8>,
    /// Those of the bytes that are headers.
    pub headers: Vec<u8>,
    pub records: Records,
    /// Of the regular files.
    pub hashes: Vec<ContentHash>,
    pub entries: u64,
    /// Of the content of the files.
    pub content: u64,
    /// What counts besides the bytes when they are unpacked.
    pub charged: u64,
    /// How many files changed while they were read, or vanished before.
    pub changed: u64,
    pub notices: Vec<String>,
}

/// What all threads need to know.
pub struct Context {
    /// Of the root; what is on another one is not part of the tree.
    pub device: u64,
    pub xattrs: xattr::Reader,
    pub setuid: Setuid,
    control: Control,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Context {
    pub fn new(device: u64, setuid: Setuid, control: Control) -> Self {
        let xattrs = xattr::Reader::default();
        Self { device, xattrs, setuid, control, spare: Mutex::default() }
    }

    /// An empty piece, in memory that was used before: fresh memory costs as much as filling it.
    pub fn blocks(&self) -> Blocks {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Blocks { bytes: spare.unwrap_or_default(), ..Blocks::default() }
    }

    pub fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

struct Job {
    steps: VecDeque<Step>,
    done: Slot<Result<Batch, PackError>>,
}

/// The threads and what they were asked to do.
pub struct Ahead {
    jobs: Sender<Job>,
    limit: usize,
    begun: Producer<Result<Batch, PackError>>,
    stretches: Consumer<Result<Batch, PackError>>,
    /// How many stretches were begun and not taken.
    waiting: usize,
    /// What is to be handed to a thread next.
    steps: VecDeque<Step>,
    directories: usize,
}

impl Ahead {
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        context: &'scope Context,
        threads: usize,
    ) -> Self {
        let threads = threads.min(MAX_READERS);
        let limit = threads * WAITING;
        let control = &context.control;
        let (jobs, queue) = queue::<Job>(control, limit + 1);
        let (begun, stretches) = ordered(control, limit + 1);
        for _ in 0..threads {
            let queue = queue.clone();
            spawn(scope, control, "read", move || {
                while let Ok(Some(Job { steps, done })) = queue.recv() {
                    done.fill(read(steps, context));
                }
            });
        }
        let steps = VecDeque::new();
        Self { jobs, limit, begun, stretches, waiting: 0, steps, directories: 0 }
    }

    /// Adds a step; returns what has to be packed before another one.
    pub fn add(&mut self, step: Step) -> Result<Option<Batch>, PackError> {
        if let Step::File(FileStep { directory, .. }) = &step {
            let last = self.steps.iter().rev().find_map(|step| match step {
                Step::File(file) => Some(&file.directory),
                Step::Ready { .. } => None,
            });
            self.directories += usize::from(!last.is_some_and(|last| Arc::ptr_eq(last, directory)));
        }
        self.steps.push_back(step);
        if self.steps.len() < STEPS && self.directories < DIRECTORIES {
            return Ok(None);
        }
        self.flush()?;
        if self.waiting < self.limit { Ok(None) } else { self.next() }
    }

    /// What has to be packed next; `None` at the end of all steps.
    pub fn next(&mut self) -> Result<Option<Batch>, PackError> {
        self.flush()?;
        if self.waiting == 0 {
            return Ok(None);
        }
        self.waiting -= 1;
        self.stretches.next()?.transpose()
    }

    fn flush(&mut self) -> Result<(), PackError> {
        if self.steps.is_empty() {
            return Ok(());
        }
        self.directories = 0;
        let steps = std::mem::take(&mut self.steps);
        let done = self.begun.begin()?;
        self.jobs.send(Job { steps, done })?;
        self.waiting += 1;
        Ok(())
    }
}

/// Does steps until one is not for reading ahead.
pub fn read(mut steps: VecDeque<Step>, context: &Context) -> Result<Batch, PackError> {
    let mut blocks = context.blocks();
    let mut opened = None;
    while blocks.bytes.len() < STRETCH
        && opened.is_none()
        && let Some(step) = steps.pop_front()
    {
        match step {
            Step::Ready { header, record, charged } => {
                blocks.charged += charged;
                blocks.bytes.extend_from_slice(&header);
                blocks.headers.extend_from_slice(&header);
                blocks.records.add(&record, None);
                blocks.entries += 1;
            }
            Step::File(file) => {
                let _reading = context.control.enter(Stage::Pack);
                opened = blocks.open(file, context)?;
            }
        }
    }
    Ok(Batch { blocks, opened, rest: steps })
}

impl Blocks {
    /// Adds a file, or returns it if it is not for reading ahead.
    fn open(&mut self, step: FileStep, context: &Context) -> Result<Option<Opened>, PackError> {
        let FileStep { directory, name, path } = step;
        let io = |errno| PackError::io(&path, errno);
        let file = match open_file(&directory, &name) {
            Ok(file) => file,
            // Something else has taken its place.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                self.vanished(&path);
                return Ok(None);
            }
            Err(errno) => return Err(io(errno)),
        };
        let found = fstat(&file).map_err(io)?;
        if kind(&found) != FileType::RegularFile {
            self.vanished(&path);
            return Ok(None);
        }
        let stat = packed(context.setuid, &path, found)?;
        if stat.st_mode != found.st_mode {
            self.notices.push(dropped(&path));
        }
        if stat.st_dev != context.device {
            self.notices.push(left_out(&path, "it is on another file system"));
            return Ok(None);
        }
        if stat.st_nlink > 1 || size(&stat) > SMALL {
            return Ok(Some(Opened { file, stat, path }));
        }
        let mut xattrs = context.xattrs.read(file.as_fd()).map_err(io)?;
        if drop_capability(context.setuid, &mut xattrs) {
            self.notices.push(dropped_capability(&path));
        }
        self.add_file(&file, &stat, &path, &xattrs)?;
        Ok(None)
    }

    /// Adds a file of this size with its content, as it is at one moment.
    pub fn add_file(
        &mut self,
        file: &OwnedFd,
        stat: &Stat,
        path: &[u8],
        xattrs: &[Xattr],
    ) -> Result<(), PackError> {
        let io = |errno| PackError::io(path, errno);
        let refused = |reason| PackError::refused(path, reason);
        let expected = usize::try_from(size(stat)).unwrap_or(usize::MAX);
        let meta = Meta::of(stat);
        let entry = |size: usize| Entry { path, kind: Kind::File(size as u64), meta, xattrs };
        let before = self.bytes.len();
        header::write(&entry(expected), &mut self.bytes).map_err(refused)?;
        let start = self.bytes.len();
        // One byte more than expected shows whether it has grown.
        self.bytes.reserve(expected.next_multiple_of(BLOCK) + 1);
        loop {
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::read(file, rustix::buffer::spare_capacity(&mut self.bytes))
            })
            .map_err(io)?;
            if read == 0 || self.bytes.len() - start >= expected {
                break;
            }
        }
        let grown = self.bytes.len() - start > expected;
        self.bytes.truncate(start + expected);
        let hash = *blake3::hash(&self.bytes[start..]).as_bytes();
        let got = self.bytes.len() - start;
        if got < expected {
            let content = self.bytes.split_off(start);
            self.bytes.truncate(before);
            header::write(&entry(got), &mut self.bytes).map_err(refused)?;
            self.bytes.extend_from_slice(&content);
        }
        let content = self.bytes.len() - got;
        self.headers.extend_from_slice(&self.bytes[before..content]);
        // Headers and contents are whole numbers of blocks.
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.changed += u64::from(grown || got < expected);
        let mut record = Record::file(stat, path, got as u64);
        record.attributes(xattrs);
        self.records.add(&record, Some(&hash));
        self.hashes.push(hash);
        self.entries += 1;
        self.content += got as u64;
        self.charged += xattr::cost(xattrs);
        Ok(())
    }

    pub fn vanished(&mut self, path: &[u8]) {
        self.notices.push(left_out(path, "it vanished while the volume was packed"));
        self.changed += 1;
    }
}
