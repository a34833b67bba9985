//! From content to compressed frames, on several cores and in order.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::compression::Compression;
use crate::error::PackError;
use crate::flow::budget::{Budget, Memory, Share};
use crate::flow::control::{Control, Stage};
use crate::flow::ordered::{Consumer, Producer, Slot, ordered};
use crate::flow::queue::{Receiver, Sender, queue};
use crate::flow::threads::spawn;
use crate::format::frame::{FRAME, SIZE_MAGIC, skippable};
use crate::packed::Size;
use crate::stream::Sink;

/// Fast enough that a core keeps up with a network and a disk; higher levels cost more time than
/// their smaller archives save, unless the network is slow.
const ZSTD_LEVEL: i32 = 1;

/// The same choice for gzip.
const GZIP_LEVEL: u32 = 3;

/// More threads than this would need more memory than a pack may take.
const MAX_WORKERS: usize = 8;

/// Runs `produce`, and hands what it writes to the sink, compressed and in order. Returns also how
/// large the archive is.
///
/// When the sink fails, so does the next write of `produce`; the sink's error is what is returned.
pub fn stream<T>(
    compression: Compression,
    budget: &Budget,
    sink: &mut dyn Sink,
    control: &Control,
    produce: impl FnOnce(&mut Frames<'_>) -> Result<T, PackError>,
) -> Result<(T, Size), PackError> {
    let control = control.child();
    let memory = budget.begin(&control)?;
    let workers = budget.threads().min(MAX_WORKERS);
    if let Some(interrupt) = sink.interrupt() {
        control.on_stop(interrupt);
    }
    let (jobs, queue) = queue::<Job>(&control, workers);
    let (order, ordered) = ordered(&control, workers + 2);
    let result = thread::scope(|scope| {
        // However this ends, nobody goes on.
        let _stop = control.stop_on_drop();
        if compression != Compression::None {
            for _ in 0..workers {
                let (queue, worker) = (queue.clone(), control.clone());
                spawn(scope, &control, "compress", move || work(&queue, compression, &worker));
            }
        }
        drop(queue);
        let output = control.clone();
        let output = spawn(scope, &control, "deliver", move || deliver(&ordered, sink, &output));
        let mut frames = Frames {
            compression,
            memory,
            control: &control,
            jobs,
            order,
            content: Vec::new(),
            unpacked: 0,
            share: None,
            spare: Arc::default(),
        };
        let produced = produce(&mut frames).and_then(|value| {
            frames.flush()?;
            Ok(value)
        });
        let unpacked = frames.unpacked;
        match &produced {
            // Ends the workers, and then the output.
            Ok(_) => frames.finish(),
            Err(_) => _ = control.stop(),
        }
        let delivered = match output.and_then(|output| output.join().ok().flatten()) {
            Some(delivered) => delivered,
            None => Err(PackError::Stopped),
        };
        match (produced, delivered) {
            (Err(PackError::Stopped), Err(error)) | (Ok(_), Err(error)) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(value), Ok(compressed)) => Ok((value, Size { unpacked, compressed })),
        }
    });
    match control.failure() {
        Some(failure) => Err(PackError::Internal(failure)),
        None => result,
    }
}

/// Where content is written to.
pub struct Frames<'a> {
    compression: Compression,
    memory: Memory,
    /// Stops all threads that work on the archive.
    pub control: &'a Control,
    jobs: Sender<Job>,
    order: Producer<Output>,
    content: Vec<u8>,
    /// Bytes of content so far, and what was charged.
    unpacked: u64,
    share: Option<Share>,
    /// Buffers to be used again.
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct Job {
    content: Vec<u8>,
    share: Option<Share>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    done: Slot<Output>,
}

/// Compressed bytes, and the memory that they took on the way.
type Output = io::Result<(Bytes, Option<Share>)>;

impl Frames<'_> {
    /// Counts what takes no space in the archive, and counts when it is unpacked.
    pub fn charge(&mut self, bytes: u64) {
        self.unpacked = self.unpacked.saturating_add(bytes);
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
        self.charge(bytes.len() as u64);
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(self.room()?));
            self.content.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Reads up to this many bytes of a file, right into a frame, and shows them; returns how many there
    /// were.
    pub fn read(
        &mut self,
        file: BorrowedFd<'_>,
        length: u64,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, ReadError> {
        let mut total = 0;
        while total < length {
            let room = self.room().map_err(ReadError::Pack)?;
            let want = usize::try_from(length - total).unwrap_or(usize::MAX).min(room);
            let start = self.content.len();
            self.content.resize(start + want, 0);
            let reading = self.control.enter(Stage::Pack);
            let read =
                rustix::io::retry_on_intr(|| rustix::io::read(file, &mut self.content[start..]));
            drop(reading);
            self.content.truncate(start + *read.as_ref().unwrap_or(&0));
            match read.map_err(ReadError::File)? {
                0 => break,
                read => total += read as u64,
            }
            self.charge((self.content.len() - start) as u64);
            show(&self.content[start..]);
        }
        Ok(total)
    }

    pub fn zeros(&mut self, mut length: u64) -> Result<(), PackError> {
        self.charge(length);
        while length > 0 {
            let room = self.room()?;
            let now = usize::try_from(length).unwrap_or(usize::MAX).min(room);
            self.content.resize(self.content.len() + now, 0);
            length -= now as u64;
        }
        Ok(())
    }

    /// Hands something over as it is, between two frames. Its content, if it has some, is to be charged.
    pub fn raw(&mut self, bytes: Vec<u8>) -> Result<(), PackError> {
        self.flush()?;
        self.ready(Bytes::from(bytes), None)
    }

    /// How many bytes fit into the frame, at least one.
    fn room(&mut self) -> Result<usize, PackError> {
        if self.content.len() == FRAME {
            self.flush()?;
        }
        if self.content.capacity() == 0 {
            self.share = Some(self.memory.take(2 * FRAME, self.control)?);
            let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
            self.content = spare.unwrap_or_else(|| Vec::with_capacity(FRAME));
        }
        Ok(FRAME - self.content.len())
    }

    fn flush(&mut self) -> Result<(), PackError> {
        if self.content.is_empty() {
            return Ok(());
        }
        let content = std::mem::take(&mut self.content);
        let share = self.share.take();
        if self.compression == Compression::None {
            return self.ready(Bytes::from(content), share);
        }
        let done = self.order.begin()?;
        Ok(self.jobs.send(Job { content, share, spare: self.spare.clone(), done })?)
    }

    fn ready(&mut self, bytes: Bytes, share: Option<Share>) -> Result<(), PackError> {
        Ok(self.order.send(Ok((bytes, share)))?)
    }

    /// Says that this is all.
    fn finish(self) {
        self.order.finish();
    }
}

/// Why something could not be read into a frame.
pub enum ReadError {
    File(Errno),
    Pack(PackError),
}

impl From<(&[u8], ReadError)> for PackError {
    fn from((path, error): (&[u8], ReadError)) -> Self {
        match error {
            ReadError::File(errno) => Self::io(path, errno),
            ReadError::Pack(error) => error,
        }
    }
}

fn work(jobs: &Receiver<Job>, compression: Compression, control: &Control) {
    let mut compressor = Compressor::new(compression);
    while let Ok(Some(Job { mut content, share, spare, done })) = jobs.recv() {
        let _working = control.enter(Stage::Compress);
        let output = match &mut compressor {
            Ok(compressor) => compressor.compress(&content),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        content.clear();
        spare.lock().unwrap_or_else(PoisonError::into_inner).push(content);
        done.fill(output.map(|bytes| (bytes, share)));
    }
}

/// Hands everything to the sink. If that fails, everybody stops.
fn deliver(
    ordered: &Consumer<Output>,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<u64, PackError> {
    let mut total = 0;
    let mut deliver = || {
        while let Some(output) = ordered.next()? {
            let (bytes, share) = output.map_err(PackError::Sink)?;
            total += bytes.len() as u64;
            let writing = control.enter(Stage::Upload);
            sink.write(bytes).map_err(PackError::Sink)?;
            drop((writing, share));
        }
        Ok(total)
    };
    let delivered = deliver();
    if delivered.is_err() {
        control.stop();
    }
    delivered
}

enum Compressor {
    Zstd(zstd::bulk::Compressor<'static>, Vec<u8>),
    Gzip,
}

impl Compressor {
    fn new(compression: Compression) -> io::Result<Self> {
        if compression == Compression::Gzip {
            return Ok(Self::Gzip);
        }
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        compressor.include_checksum(true)?;
        let bound = zstd::zstd_safe::compress_bound(FRAME);
        Ok(Self::Zstd(compressor, Vec::with_capacity(bound)))
    }

    fn compress(&mut self, content: &[u8]) -> io::Result<Bytes> {
        match self {
            Self::Zstd(compressor, buffer) => {
                compressor.compress_to_buffer(content, buffer)?;
                let size = u32::try_from(buffer.len()).map_err(io::Error::other)?;
                let mut frame = Vec::with_capacity(buffer.len() + 12);
                frame.extend_from_slice(&skippable(SIZE_MAGIC, 4));
                frame.extend_from_slice(&size.to_le_bytes());
                frame.extend_from_slice(buffer);
                Ok(frame.into())
            }
            Self::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut member = flate2::write::GzEncoder::new(Vec::new(), level);
                member.write_all(content)?;
                Ok(member.finish()?.into())
            }
        }
    }
}
