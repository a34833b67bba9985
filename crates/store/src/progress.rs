//! How far a transfer has come, for whoever wonders whether it stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Clones count the same steps.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Grows with whatever is done. If it stays the same, nothing happens.
    pub fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
