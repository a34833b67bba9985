//! Whether the server's clock was taken for this machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The SDK measures how far the server's clock is ahead and signs the next request with that, but leaves
/// it to its caller to send one. This remembers that it was done: the clock is corrected once.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    corrected: Arc<AtomicBool>,
}

impl Clock {
    pub fn is_corrected(&self) -> bool {
        self.corrected.load(Ordering::Relaxed)
    }

    pub fn correct(&self) {
        self.corrected.store(true, Ordering::Relaxed);
    }
}
