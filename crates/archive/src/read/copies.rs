//! Content that was copied out of its blocks, and how much of it there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

#[derive(Clone, Default)]
pub struct Copies(Arc<AtomicUsize>);

struct Copied {
    content: Vec<u8>,
    copies: Copies,
}

impl Copies {
    /// How many bytes there are at the moment.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a copy until it is dropped.
    pub fn add(&self, content: Vec<u8>) -> Bytes {
        self.0.fetch_add(content.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Copied { content, copies: self.clone() })
    }
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.copies.0.fetch_sub(self.content.capacity(), Ordering::Relaxed);
    }
}
