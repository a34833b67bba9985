//! From compressed frames to content, on all cores and in order.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::{Buf, Bytes};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::budget::{Budget, Share};
use super::frame::{self, LARGEST, OWN_MAGIC, SIZE_MAGIC, ZSTD_MAGIC, is_skippable};
use super::snapshot::ContentHash;
use super::trailer::{self, Trailer};
use super::unpack::{Source, UnpackError};
use super::{Compression, UnpackOptions};

const MAX_WORKERS: usize = 8;

/// What is decompressed at once where there are no frames to hand out, in bytes.
const BLOCK: usize = 1 << 20;

/// The memory that one frame may refer back to, as a power of two: what `zstd` itself accepts.
const MAX_WINDOW: u32 = 27;

/// What every member of a gzip file starts with.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// The longest header of a frame, in bytes.
const HEADER: usize = 18;

/// Runs `consume` on the content of an archive.
pub fn stream<T>(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    stop: &AtomicBool,
    consume: impl FnOnce(&mut Content<'_>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let (jobs, queue) = sync_channel::<Job>(workers);
    let (order, ordered) = sync_channel(workers);
    let read = AtomicU64::new(0);
    let size = source.size();
    thread::scope(|scope| {
        let queue = Arc::new(Mutex::new(queue));
        if compression == Compression::Zstd {
            for _ in 0..workers {
                let queue = queue.clone();
                scope.spawn(move || work(&queue));
            }
        }
        drop(queue);
        let most_hashes = options.limits.entries;
        let mut splitter = Splitter {
            input: Input { source, chunk: Bytes::new(), read: &read, ended: false, failed: None },
            budget: &options.budget,
            jobs,
            order,
            pool: Pool::default(),
            most_hashes,
            trailer: None,
            announced: false,
        };
        scope.spawn(move || {
            let result = match compression {
                Compression::Zstd => splitter.zstd(),
                Compression::Gzip => splitter.gzip(),
                Compression::None => splitter.plain(),
            };
            // The order in which errors and content arrive is the order in which they happened. A
            // consumer who has gone away has a reason of its own.
            if let Err(error) = result {
                _ = splitter.order.send(Item::Failed(error));
            }
        });
        let mut content = Content {
            ordered,
            limits: options.limits,
            unpacked: 0,
            size,
            read: &read,
            trailer: None,
            stop,
        };
        consume(&mut content)
    })
}

/// The content of an archive, block by block.
pub struct Content<'a> {
    ordered: Receiver<Item>,
    limits: super::Limits,
    /// With what takes no space in the archive.
    unpacked: u64,
    /// Of the archive, if its source knows it.
    size: Option<u64>,
    read: &'a AtomicU64,
    /// After the last block, with the hashes of the regular files in the order of the archive.
    pub trailer: Option<(Trailer, Vec<ContentHash>)>,
    stop: &'a AtomicBool,
}

enum Item {
    Trailer(Trailer, Vec<ContentHash>),
    Block(Bytes),
    Frame(Receiver<Result<Bytes, UnpackError>>),
    Failed(UnpackError),
}

impl Content<'_> {
    /// The next block, `None` at the end. None is empty.
    pub fn next(&mut self) -> Result<Option<Bytes>, UnpackError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(UnpackError::Stopped);
            }
            let Ok(item) = self.ordered.recv() else { return Ok(None) };
            let block = match item {
                Item::Trailer(trailer, hashes) => {
                    self.trailer = Some((trailer, hashes));
                    continue;
                }
                Item::Block(block) => block,
                Item::Frame(frame) => frame.recv().unwrap_or(Err(UnpackError::Stopped))?,
                Item::Failed(error) => return Err(error),
            };
            self.unpacked += block.len() as u64;
            self.check_size()?;
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
    }

    /// Counts what is made of the archive and takes no space in it: a hole has to be written or hashed.
    pub fn charge(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        self.check_size()
    }

    /// Whether somebody wants the archive no more.
    pub fn check_stop(&self) -> Result<(), UnpackError> {
        if self.stop.load(Ordering::Relaxed) { Err(UnpackError::Stopped) } else { Ok(()) }
    }

    fn check_size(&self) -> Result<(), UnpackError> {
        let limits = self.limits;
        if self.unpacked > limits.bytes {
            return Err(UnpackError::Limit(format!(
                "it holds more bytes than {}, allow more with `cache_max_size`",
                limits.bytes
            )));
        }
        // Where the size is not known, what was read is ahead of what was unpacked, which is in favour of
        // the archive.
        let packed = self.size.unwrap_or_else(|| self.read.load(Ordering::Relaxed));
        if limits.is_bomb(self.unpacked, packed) {
            return Err(UnpackError::Limit(format!(
                "it unpacks to more than {} times its size, allow more with `cache_max_ratio`",
                limits.ratio
            )));
        }
        Ok(())
    }

    /// How many compressed bytes were read so far.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// The source as bytes.
struct Input<'a> {
    source: &'a mut dyn Source,
    chunk: Bytes,
    read: &'a AtomicU64,
    ended: bool,
    /// Why [`BufRead`] failed.
    failed: Option<UnpackError>,
}

impl Input<'_> {
    /// Makes `chunk` hold something; returns whether there is anything.
    fn fill(&mut self) -> Result<bool, UnpackError> {
        while self.chunk.is_empty() && !self.ended {
            match self.source.next().map_err(UnpackError::Source)? {
                Some(chunk) => {
                    self.read.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    self.chunk = chunk;
                }
                None => self.ended = true,
            }
        }
        Ok(!self.chunk.is_empty())
    }

    /// Appends exactly this many bytes. Memory grows with what arrives, not with what is announced.
    fn exact(&mut self, mut count: usize, into: &mut Vec<u8>) -> Result<(), UnpackError> {
        while count > 0 {
            if !self.fill()? {
                return Err(ends_early());
            }
            let now = count.min(self.chunk.len());
            into.extend_from_slice(&self.chunk[..now]);
            self.chunk.advance(now);
            count -= now;
        }
        Ok(())
    }

    fn skip(&mut self, mut count: u64) -> Result<(), UnpackError> {
        while count > 0 {
            if !self.fill()? {
                return Err(ends_early());
            }
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(self.chunk.len());
            self.chunk.advance(now);
            count -= now as u64;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<u32, UnpackError> {
        let mut bytes = Vec::with_capacity(4);
        self.exact(4, &mut bytes)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let now = {
            let available = self.fill_buf()?;
            let now = available.len().min(into.len());
            into[..now].copy_from_slice(&available[..now]);
            now
        };
        self.consume(now);
        Ok(now)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.fill() {
            Ok(_) => Ok(&self.chunk),
            Err(error) => {
                let shown = io::Error::other(error.to_string());
                self.failed = Some(error);
                Err(shown)
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

pub fn ends_early() -> UnpackError {
    UnpackError::Corrupt("it ends early".to_owned())
}

struct Splitter<'a> {
    input: Input<'a>,
    budget: &'a Budget,
    jobs: SyncSender<Job>,
    order: SyncSender<Item>,
    pool: Pool,
    most_hashes: u64,
    /// The last one that was found.
    trailer: Option<(Trailer, Vec<ContentHash>)>,
    /// Whether a trailer has to follow.
    announced: bool,
}

impl Splitter<'_> {
    fn zstd(&mut self) -> Result<(), UnpackError> {
        let mut first = true;
        // The size of the next frame, where that is announced.
        let mut announced = None;
        while self.input.fill()? {
            let magic = self.input.number()?;
            if is_skippable(magic) {
                let size = self.input.number()?;
                announced = None;
                match (magic, size) {
                    (SIZE_MAGIC, 4) => announced = usize::try_from(self.input.number()?).ok(),
                    (OWN_MAGIC, size) => self.own(size)?,
                    (_, size) => self.input.skip(size.into())?,
                }
            } else if magic == ZSTD_MAGIC {
                match announced.take().filter(|size| (4..=2 * LARGEST).contains(size)) {
                    Some(size) => self.frame(size)?,
                    None => {
                        let head = self.frame_header()?;
                        self.streamed(&mut head.as_slice())?;
                    }
                }
            } else if magic == 0 && !first {
                return self.padding();
            } else {
                return Err(UnpackError::Corrupt("it is not compressed with zstd".to_owned()));
            }
            first = false;
        }
        if first || announced.is_some() || self.announced {
            return Err(ends_early());
        }
        match self.trailer.take() {
            Some((trailer, hashes)) => {
                let item = Item::Trailer(trailer, hashes);
                self.order.send(item).map_err(|_| UnpackError::Stopped)
            }
            None => Ok(()),
        }
    }

    /// Hands a frame to the workers.
    fn frame(&mut self, size: usize) -> Result<(), UnpackError> {
        let mut frame = self.pool.take();
        frame.extend_from_slice(&ZSTD_MAGIC.to_le_bytes());
        self.input.exact(size.min(HEADER) - 4, &mut frame)?;
        let content = zstd::zstd_safe::get_frame_content_size(&frame);
        let content = content.ok().flatten().and_then(|size| usize::try_from(size).ok());
        let Some(content) = content.filter(|size| *size <= LARGEST) else {
            return self.streamed(&mut frame.as_slice());
        };
        let share = self.budget.take(size + content);
        self.input.exact(size - frame.len(), &mut frame)?;
        let (done, output) = channel();
        self.order.send(Item::Frame(output)).map_err(|_| UnpackError::Stopped)?;
        let job = Job { frame, content, share, pool: self.pool.clone(), done };
        self.jobs.send(job).map_err(|_| UnpackError::Stopped)
    }

    /// Reads the header of a frame, behind its first four bytes.
    fn frame_header(&mut self) -> Result<Vec<u8>, UnpackError> {
        let mut head = ZSTD_MAGIC.to_le_bytes().to_vec();
        self.input.exact(1, &mut head)?;
        self.input.exact(frame::header_size(head[4]) - head.len(), &mut head)?;
        match frame::window(&head) {
            Some(window) if window > 1 << MAX_WINDOW => Err(UnpackError::Corrupt(format!(
                "it takes a window of {window} bytes to unpack, as `zstd --long=31` makes it; \
                 compress it with at most `--long={MAX_WINDOW}`"
            ))),
            _ => Ok(head),
        }
    }

    /// Decompresses one frame that starts with `head` and goes on in the input.
    fn streamed(&mut self, head: &mut &[u8]) -> Result<(), UnpackError> {
        let corrupt = |error: io::Error| UnpackError::Corrupt(error.to_string());
        let mut decoder = Decoder::new().map_err(corrupt)?;
        decoder
            .set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(MAX_WINDOW))
            .map_err(corrupt)?;
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            let mut hint = 1;
            while hint != 0 && block.len() < BLOCK {
                let from_input = head.is_empty();
                if from_input && !self.input.fill()? {
                    return Err(ends_early());
                }
                let bytes = if from_input { &self.input.chunk[..] } else { *head };
                let mut source = InBuffer::around(bytes);
                let start = block.len();
                let mut destination = OutBuffer::around_pos(&mut block, start);
                hint = decoder.run(&mut source, &mut destination).map_err(corrupt)?;
                let used = source.pos();
                match from_input {
                    true => self.input.chunk.advance(used),
                    false => *head = &head[used..],
                }
            }
            self.order.send(Item::Block(block.into())).map_err(|_| UnpackError::Stopped)?;
            if hint == 0 {
                return Ok(());
            }
        }
    }

    /// What this program has to say besides the content.
    fn own(&mut self, size: u32) -> Result<(), UnpackError> {
        let most = self.most_hashes.saturating_mul(32) + Trailer::SIZE as u64;
        if u64::from(size) > most {
            self.announced = false;
            return self.input.skip(size.into());
        }
        let mut bytes = Vec::new();
        self.input.exact(size as usize, &mut bytes)?;
        if trailer::is_announcement(&bytes) {
            self.announced = true;
            return Ok(());
        }
        if let Some(trailer) = trailer::read(&bytes) {
            self.announced = false;
            self.trailer = Some(trailer);
        }
        Ok(())
    }

    fn gzip(&mut self) -> Result<(), UnpackError> {
        if !self.input.fill()? {
            return Err(ends_early());
        }
        let mut first = true;
        while self.input.fill()? {
            if self.input.chunk[0] == 0 && !first {
                return self.padding();
            }
            let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
            let read = self.input.exact(GZIP_MAGIC.len(), &mut magic);
            if !GZIP_MAGIC.starts_with(&magic) {
                let what = match first {
                    true => "it is not compressed with gzip",
                    false => "something that is not compressed with gzip follows its end",
                };
                return Err(UnpackError::Corrupt(what.to_owned()));
            }
            read?;
            first = false;
            let input = Read::chain(magic.as_slice(), &mut self.input);
            let mut member = flate2::bufread::GzDecoder::new(input);
            loop {
                let mut block = Vec::with_capacity(BLOCK);
                match (&mut member).take(BLOCK as u64).read_to_end(&mut block) {
                    Ok(0) => break,
                    Ok(_) => {
                        let block = Item::Block(block.into());
                        self.order.send(block).map_err(|_| UnpackError::Stopped)?;
                    }
                    Err(error) => {
                        // What keeps the archive from being read is no fault of the archive.
                        let (_, input) = member.get_mut().get_mut();
                        return Err(match input.failed.take() {
                            Some(failed) => failed,
                            None if error.kind() == io::ErrorKind::UnexpectedEof => ends_early(),
                            None => UnpackError::Corrupt(error.to_string()),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Some tools fill the last block of a compressed archive up with zeros.
    fn padding(&mut self) -> Result<(), UnpackError> {
        while self.input.fill()? {
            if self.input.chunk.iter().any(|byte| *byte != 0) {
                return Err(UnpackError::Corrupt("something else follows its end".to_owned()));
            }
            self.input.chunk.clear();
        }
        Ok(())
    }

    fn plain(&mut self) -> Result<(), UnpackError> {
        while self.input.fill()? {
            let block = std::mem::take(&mut self.input.chunk);
            self.order.send(Item::Block(block)).map_err(|_| UnpackError::Stopped)?;
        }
        Ok(())
    }
}

struct Job {
    frame: Vec<u8>,
    /// The size of the content in bytes.
    content: usize,
    share: Share,
    pool: Pool,
    done: Sender<Result<Bytes, UnpackError>>,
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut decompressor = zstd::bulk::Decompressor::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { frame, content, share, pool, done }) = job else { return };
        let mut block = pool.take();
        block.reserve(content);
        let result = match &mut decompressor {
            Ok(decompressor) => decompressor.decompress_to_buffer(&frame, &mut block),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        pool.give(frame);
        let block = Block { content: block, pool, _share: share };
        // Nobody may want it any more.
        _ = done.send(match result {
            Ok(size) if size == content => Ok(Bytes::from_owner(block)),
            Ok(_) => Err(ends_early()),
            Err(error) => Err(UnpackError::Corrupt(error.to_string())),
        });
    }
}

/// Content that gives its memory back.
struct Block {
    content: Vec<u8>,
    pool: Pool,
    _share: Share,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.content));
    }
}

/// Buffers to be used again: fresh memory costs as much as filling it.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    const KEPT: usize = 16;

    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}
