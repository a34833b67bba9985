//! How far an import is, and how it is stopped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::SourceError;

/// Shared by an import and whoever waits for it. An import that was cancelled ends within the time that it
/// takes to copy a few megabytes.
#[derive(Debug, Default)]
pub struct Progress {
    is_cancelled: AtomicBool,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Ends what is going on with [`SourceError::Cancelled`].
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// How many files have been copied: regular files and links.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// How many bytes of content have been copied, without holes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), SourceError> {
        if self.is_cancelled() { Err(SourceError::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
