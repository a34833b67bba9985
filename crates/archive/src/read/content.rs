//! The content of an archive, block by block.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::error::UnpackError;
use crate::flow::control::Control;
use crate::flow::ordered::{Consumer, Next};
use crate::format::trailer::Trailer;
use crate::options::Limits;

/// What is read of an archive, in order and within the limits.
pub struct Content<'a> {
    ordered: Consumer<Item>,
    limits: Limits,
    /// With what takes no space in the archive.
    unpacked: u64,
    /// Of the archive, if its source knows it.
    size: Option<u64>,
    read: &'a AtomicU64,
    /// After the last block.
    pub trailer: Option<Trailer>,
    /// What has to be done before every wait for a block: others may wait for whoever waits here.
    pub before_wait: Option<Box<dyn Fn() + Send + 'a>>,
    /// Stops all threads that work on the archive.
    pub control: &'a Control,
}

/// What comes next in an archive.
pub enum Item {
    Trailer(Trailer),
    Block(Bytes),
    Failed(UnpackError),
}

impl<'a> Content<'a> {
    pub fn new(
        ordered: Consumer<Item>,
        limits: Limits,
        size: Option<u64>,
        read: &'a AtomicU64,
        control: &'a Control,
    ) -> Self {
        Self { ordered, limits, unpacked: 0, size, read, trailer: None, before_wait: None, control }
    }

    /// The next block, `None` at the end. None is empty. All earlier blocks have to be on their way to
    /// somebody who needs nothing from here, or the memory for this one may never come.
    pub fn next(&mut self) -> Result<Option<Bytes>, UnpackError> {
        loop {
            let item = match self.ordered.try_next()? {
                Next::Ready(item) => item,
                Next::Finished => return Ok(None),
                Next::Pending => {
                    if let Some(work) = &self.before_wait {
                        work();
                    }
                    match self.ordered.next()? {
                        Some(item) => item,
                        None => return Ok(None),
                    }
                }
            };
            let block = match item {
                Item::Trailer(trailer) => {
                    self.trailer = Some(trailer);
                    continue;
                }
                Item::Block(block) => block,
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
