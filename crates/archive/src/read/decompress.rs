//! From compressed frames to content, on several cores and in order.

use std::io::{self, Read};
use std::sync::atomic::AtomicU64;
use std::thread;

use bytes::{Buf, Bytes};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::content::{Content, Item};
use super::input::Input;
use super::pool::{Counted, Pool};
use super::worker::{Job, local, undecodable, work};
use crate::compression::Compression;
use crate::error::UnpackError;
use crate::flow::budget::{Memory, RESERVE, Share};
use crate::flow::control::{Control, Stage};
use crate::flow::ordered::{Producer, ordered};
use crate::flow::queue::{Sender, queue};
use crate::flow::threads::spawn;
use crate::format::frame::{self, LARGEST, OWN_MAGIC, SIZE_MAGIC, ZSTD_MAGIC, is_skippable};
use crate::format::trailer::{self, Trailer};
use crate::options::UnpackOptions;
use crate::stream::Source;

const MAX_WORKERS: usize = 8;

/// What is decompressed at once where there are no frames to hand out, in bytes.
const BLOCK: usize = 1 << 20;

/// The memory that one frame may refer back to, as a power of two: what `zstd` itself accepts. It comes
/// on top of the budget, once for each archive that has such frames.
const MAX_WINDOW: u32 = 27;

/// What every member of a gzip file starts with.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// The longest header of a frame, in bytes.
const HEADER: usize = 18;

/// Runs `consume` on the content of an archive.
///
/// `consume` may keep content for as long as somebody works on it who needs nothing from here.
pub fn stream<T>(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    control: &Control,
    consume: impl FnOnce(&mut Content<'_>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let control = control.child();
    let memory = options.budget.begin(&control)?;
    run(source, compression, options, Some(memory), control, consume)
}

/// Runs `consume` on the content of an archive that is not compressed. `consume` keeps none of it, so it
/// takes no memory of the budget, and may have taken some for something else.
pub fn plain<T>(
    source: &mut dyn Source,
    options: &UnpackOptions,
    control: &Control,
    consume: impl FnOnce(&mut Content<'_>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    run(source, Compression::None, options, None, control.child(), consume)
}

fn run<T>(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    memory: Option<Memory>,
    control: Control,
    consume: impl FnOnce(&mut Content<'_>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let workers = options.budget.threads().min(MAX_WORKERS);
    if let Some(interrupt) = source.interrupt() {
        control.on_stop(interrupt);
    }
    let (jobs, queue) = queue::<Job>(&control, workers);
    let (order, ordered) = ordered(&control, workers + 2);
    let read = AtomicU64::new(0);
    let size = source.size();
    let result = thread::scope(|scope| {
        // However this ends, nobody goes on.
        let _stop = control.stop_on_drop();
        if compression == Compression::Zstd {
            for _ in 0..workers {
                let (queue, worker) = (queue.clone(), control.clone());
                spawn(scope, &control, "decompress", move || work(&queue, &worker));
            }
        }
        drop(queue);
        // The stage is the one of whoever the archive comes from.
        let stage = if memory.is_some() { Stage::Download } else { Stage::Pack };
        let mut splitter = Splitter {
            input: Input {
                source,
                chunk: Bytes::new(),
                read: &read,
                ended: false,
                failed: None,
                control: &control,
                stage,
            },
            memory,
            control: &control,
            jobs,
            order,
            pool: Pool::new(workers + 1),
            decoder: None,
            trailer: None,
            announced: false,
        };
        spawn(scope, &control, "split", move || {
            let result = match compression {
                Compression::Zstd => splitter.zstd(),
                Compression::Gzip => splitter.gzip(),
                Compression::None => splitter.plain(),
            };
            // Errors arrive in the order in which they happened. Whoever does not want them any more has
            // a reason of its own.
            if let Err(error) = result {
                _ = splitter.order.send(Item::Failed(error));
            }
            splitter.order.finish();
        });
        let mut content = Content::new(ordered, options.limits, size, &read, &control);
        consume(&mut content)
    });
    match control.failure() {
        Some(failure) => Err(UnpackError::Internal(failure)),
        None => result,
    }
}

struct Splitter<'a> {
    input: Input<'a>,
    /// `None` if whoever takes the content keeps none of it.
    memory: Option<Memory>,
    control: &'a Control,
    jobs: Sender<Job>,
    order: Producer<Item>,
    pool: Pool,
    /// For frames that are decompressed here.
    decoder: Option<Decoder<'static>>,
    /// The last one that was found.
    trailer: Option<Trailer>,
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
                self.padding()?;
            } else {
                return Err(UnpackError::Corrupt("it is not compressed with zstd".to_owned()));
            }
            first = false;
        }
        if first || announced.is_some() || self.announced {
            return Err(UnpackError::ends_early());
        }
        match self.trailer.take() {
            Some(trailer) => Ok(self.order.send(Item::Trailer(trailer))?),
            None => Ok(()),
        }
    }

    /// Hands a frame to the workers if there is memory for all of it.
    fn frame(&mut self, size: usize) -> Result<(), UnpackError> {
        let mut head = Vec::with_capacity(HEADER);
        head.extend_from_slice(&ZSTD_MAGIC.to_le_bytes());
        self.input.exact(size.min(HEADER) - 4, &mut head)?;
        let content = zstd::zstd_safe::get_frame_content_size(&head);
        let content = content.ok().flatten().and_then(|size| usize::try_from(size).ok());
        let Some(content) = content.filter(|size| *size <= LARGEST) else {
            return self.streamed(&mut head.as_slice());
        };
        let Some((packed, share)) = self.shares(size, content)? else {
            return self.streamed(&mut head.as_slice());
        };
        let mut frame = self.pool.take(size);
        frame.extend_from_slice(&head);
        self.input.exact(size - head.len(), &mut frame)?;
        let done = self.order.begin()?;
        let job = Job { frame, packed, content, share, pool: self.pool.clone(), done };
        Ok(self.jobs.send(job)?)
    }

    /// Memory for a frame and for its content. `None` if there is not enough, and never may be.
    fn shares(&self, size: usize, content: usize) -> Result<Option<(Share, Share)>, UnpackError> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let total = size + content;
        let mut packed = match memory.try_take(total) {
            Some(share) => share,
            None if total <= RESERVE => memory.take(total, self.control)?,
            None => return Ok(None),
        };
        let content = packed.split(content);
        Ok(Some((packed, content)))
    }

    /// Reads the header of a frame, behind its first four bytes.
    fn frame_header(&mut self) -> Result<Vec<u8>, UnpackError> {
        let mut head = ZSTD_MAGIC.to_le_bytes().to_vec();
        self.input.exact(1, &mut head)?;
        self.input.exact(frame::header_size(head[4]) - head.len(), &mut head)?;
        match frame::window(&head) {
            Some(window) if window > 1 << MAX_WINDOW => Err(UnpackError::Unsupported(format!(
                "it takes a window of {window} bytes to unpack, as `zstd --long=31` makes it; \
                 compress it with at most `--long={MAX_WINDOW}`"
            ))),
            _ => Ok(head),
        }
    }

    /// Decompresses one frame that starts with `head` and goes on in the input, in memory for one block.
    fn streamed(&mut self, head: &mut &[u8]) -> Result<(), UnpackError> {
        let mut decoder = match self.decoder.take() {
            Some(mut decoder) => {
                decoder.reinit().map_err(local)?;
                decoder
            }
            None => {
                let mut decoder = Decoder::new().map_err(local)?;
                let window = zstd::zstd_safe::DParameter::WindowLogMax(MAX_WINDOW);
                decoder.set_parameter(window).map_err(local)?;
                decoder
            }
        };
        loop {
            let share = share(self.memory.as_ref(), BLOCK, self.control)?;
            let mut block = Vec::with_capacity(BLOCK);
            let mut hint = 1;
            while hint != 0 && block.len() < BLOCK {
                let from_input = head.is_empty();
                if from_input && !self.input.fill()? {
                    return Err(UnpackError::ends_early());
                }
                let bytes = if from_input { &self.input.chunk[..] } else { *head };
                let mut source = InBuffer::around(bytes);
                let start = block.len();
                let mut destination = OutBuffer::around_pos(&mut block, start);
                hint = decoder.run(&mut source, &mut destination).map_err(undecodable)?;
                let used = source.pos();
                match from_input {
                    true => self.input.chunk.advance(used),
                    false => *head = &head[used..],
                }
            }
            hand_on(&self.order, block, share)?;
            if hint == 0 {
                self.decoder = Some(decoder);
                return Ok(());
            }
        }
    }

    /// What this program has to say besides the content.
    fn own(&mut self, size: u32) -> Result<(), UnpackError> {
        let end = size.min(Trailer::SIZE as u32);
        self.input.skip(u64::from(size - end))?;
        let mut bytes = Vec::with_capacity(Trailer::SIZE);
        self.input.exact(end as usize, &mut bytes)?;
        if trailer::is_announcement(&bytes) {
            self.announced = true;
        } else if let Some(trailer) = Trailer::at_end(&bytes) {
            self.announced = false;
            self.trailer = Some(trailer);
        }
        Ok(())
    }

    fn gzip(&mut self) -> Result<(), UnpackError> {
        if !self.input.fill()? {
            return Err(UnpackError::ends_early());
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
                let share = share(self.memory.as_ref(), BLOCK, self.control)?;
                let mut block = Vec::with_capacity(BLOCK);
                match (&mut member).take(BLOCK as u64).read_to_end(&mut block) {
                    Ok(0) => break,
                    Ok(_) => hand_on(&self.order, block, share)?,
                    Err(error) => {
                        // What keeps the archive from being read is no fault of the archive.
                        let (_, input) = member.get_mut().get_mut();
                        return Err(match input.failed.take() {
                            Some(failed) => failed,
                            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                                UnpackError::ends_early()
                            }
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
            let content = std::mem::take(&mut self.input.chunk);
            let block = match share(self.memory.as_ref(), content.len(), self.control)? {
                Some(share) => Bytes::from_owner(Counted { content, _share: share }),
                None => content,
            };
            self.order.send(Item::Block(block))?;
        }
        Ok(())
    }
}

/// Memory for content that is not part of a frame with a known size.
fn share(
    memory: Option<&Memory>,
    bytes: usize,
    control: &Control,
) -> Result<Option<Share>, UnpackError> {
    Ok(memory.map(|memory| memory.take(bytes, control)).transpose()?)
}

/// Hands a block on with no more memory than it has content.
fn hand_on(
    order: &Producer<Item>,
    mut block: Vec<u8>,
    mut share: Option<Share>,
) -> Result<(), UnpackError> {
    if block.len() < block.capacity() / 2 {
        block.shrink_to_fit();
        share = share.map(|mut share| share.split(block.len()));
    }
    let block = match share {
        Some(share) => Bytes::from_owner(Counted { content: block.into(), _share: share }),
        None => block.into(),
    };
    Ok(order.send(Item::Block(block))?)
}
