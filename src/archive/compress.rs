//! From content to compressed frames, on all cores and in order.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::Compression;
use super::budget::{Budget, Share};
use super::frame::{FRAME, SIZE_MAGIC, skippable};
use super::pack::{PackError, Sink};

/// Fast enough that a core keeps up with a network and a disk; higher levels cost more time than
/// their smaller archives save, unless the network is slow.
const ZSTD_LEVEL: i32 = 1;

/// The same choice for gzip.
const GZIP_LEVEL: u32 = 3;

/// More threads than this would need more memory than a pack may take.
const MAX_WORKERS: usize = 8;

/// Runs `produce`, and hands what it writes to the sink, compressed and in order. Returns also how
/// many bytes the sink got.
///
/// When the sink fails, so does the next write of `produce`; the sink's error is what is returned.
pub fn stream<T>(
    compression: Compression,
    budget: &Budget,
    sink: &mut dyn Sink,
    produce: impl FnOnce(&mut Frames) -> Result<T, PackError>,
) -> Result<(T, u64), PackError> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let (jobs, queue) = sync_channel::<Job>(workers);
    let (order, ordered) = sync_channel(workers);
    thread::scope(|scope| {
        let queue = Arc::new(Mutex::new(queue));
        if compression != Compression::None {
            for _ in 0..workers {
                let queue = queue.clone();
                scope.spawn(move || work(&queue, compression));
            }
        }
        drop(queue);
        let output = scope.spawn(move || deliver(ordered, sink));
        let mut frames = Frames {
            compression,
            budget,
            jobs,
            order,
            content: Vec::new(),
            share: None,
            spare: Arc::default(),
        };
        let produced = produce(&mut frames).and_then(|value| {
            frames.flush()?;
            Ok(value)
        });
        // Ends the workers, and then the output.
        drop(frames);
        let delivered = match output.join() {
            Ok(delivered) => delivered.map_err(PackError::Sink),
            Err(_) => Err(PackError::Stopped),
        };
        match (produced, delivered) {
            (Err(PackError::Stopped), Err(error)) | (Ok(_), Err(error)) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(value), Ok(bytes)) => Ok((value, bytes)),
        }
    })
}

/// Where content is written to.
pub struct Frames<'a> {
    compression: Compression,
    budget: &'a Budget,
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Output>>,
    content: Vec<u8>,
    share: Option<Share>,
    /// Buffers to be used again.
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct Job {
    content: Vec<u8>,
    share: Option<Share>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    done: Sender<Output>,
}

/// Compressed bytes, and the memory that they took on the way.
type Output = io::Result<(Bytes, Option<Share>)>;

impl Frames<'_> {
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
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
            let read =
                rustix::io::retry_on_intr(|| rustix::io::read(file, &mut self.content[start..]));
            self.content.truncate(start + *read.as_ref().unwrap_or(&0));
            match read.map_err(ReadError::File)? {
                0 => break,
                read => total += read as u64,
            }
            show(&self.content[start..]);
        }
        Ok(total)
    }

    pub fn zeros(&mut self, mut length: u64) -> Result<(), PackError> {
        while length > 0 {
            let room = self.room()?;
            let now = usize::try_from(length).unwrap_or(usize::MAX).min(room);
            self.content.resize(self.content.len() + now, 0);
            length -= now as u64;
        }
        Ok(())
    }

    /// Hands something over as it is, between two frames.
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
            self.share = Some(self.budget.take(2 * FRAME));
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
        let (done, output) = channel();
        let job = Job { content, share, spare: self.spare.clone(), done };
        // Whoever has gone away says why at the end.
        self.order.send(output).map_err(|_| PackError::Stopped)?;
        self.jobs.send(job).map_err(|_| PackError::Stopped)
    }

    fn ready(&mut self, bytes: Bytes, share: Option<Share>) -> Result<(), PackError> {
        let (done, output) = channel();
        _ = done.send(Ok((bytes, share)));
        self.order.send(output).map_err(|_| PackError::Stopped)
    }
}

/// Why something could not be read into a frame.
pub enum ReadError {
    File(Errno),
    Pack(PackError),
}

fn work(queue: &Mutex<Receiver<Job>>, compression: Compression) {
    let mut compressor = Compressor::new(compression);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { mut content, share, spare, done }) = job else { return };
        let output = match &mut compressor {
            Ok(compressor) => compressor.compress(&content),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        content.clear();
        spare.lock().unwrap_or_else(PoisonError::into_inner).push(content);
        // Nobody may want it any more.
        _ = done.send(output.map(|bytes| (bytes, share)));
    }
}

fn deliver(ordered: Receiver<Receiver<Output>>, sink: &mut dyn Sink) -> io::Result<u64> {
    let mut total = 0;
    for output in ordered {
        // A job that was never done: its producer gave up and says why.
        let Ok(output) = output.recv() else { continue };
        let (bytes, share) = output?;
        total += bytes.len() as u64;
        sink.write(bytes)?;
        drop(share);
    }
    Ok(total)
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
