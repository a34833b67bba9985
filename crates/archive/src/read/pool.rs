//! Memory that content of an archive is in, and how it is given back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::flow::budget::Share;
use crate::format::frame::FRAME;

/// Content that was not made here.
pub struct Counted {
    pub content: Bytes,
    pub _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

/// Content that gives its memory back.
pub struct Block {
    pub content: Vec<u8>,
    pub pool: Pool,
    pub _share: Share,
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

/// A few buffers to be used again: fresh memory costs as much as filling it. They come on top of the
/// budget.
#[derive(Clone)]
pub struct Pool(Arc<Kept>);

struct Kept {
    most: usize,
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// Smaller buffers cost less than they hold here.
    const SMALLEST: usize = 256 << 10;

    /// Larger ones are rare.
    const LARGEST: usize = FRAME + (1 << 20);

    pub fn new(most: usize) -> Self {
        Self(Arc::new(Kept { most, buffers: Mutex::default() }))
    }

    /// An empty buffer with room for that much.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = match bytes {
            Self::SMALLEST..=Self::LARGEST => self.buffers().pop().unwrap_or_default(),
            _ => Vec::new(),
        };
        buffer.reserve_exact(bytes);
        buffer
    }

    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = self.buffers();
        let fits = (Self::SMALLEST..=Self::LARGEST).contains(&buffer.capacity());
        if fits && buffers.len() < self.0.most {
            buffers.push(buffer);
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
