//! A download as a thread reads it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::transfer::{CANCELLED, Interrupt};
use crate::archive::{Budget, Limits, Source, UnpackOptions, Wake};
use crate::cache::{CacheConfig, Download};

pub struct Downloaded {
    download: Download,
    over: CancellationToken,
    runtime: Handle,
}

impl Downloaded {
    /// To be called within a runtime, and read on a thread outside of it.
    pub fn new(download: Download) -> Self {
        Self::until(download, CancellationToken::new())
    }

    /// The same, with an error instead of content as soon as the token fires.
    pub fn until(download: Download, over: CancellationToken) -> Self {
        Self { download, over: over.child_token(), runtime: Handle::current() }
    }
}

impl Source for Downloaded {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                chunk = self.download.next() => chunk.map_err(io::Error::other),
                () = self.over.cancelled() => Err(io::Error::other(CANCELLED)),
            }
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.over.clone())))
    }
}

/// How archives of a cache are unpacked.
pub fn unpack_options(config: &CacheConfig, budget: Budget) -> UnpackOptions {
    let default = Limits::default();
    UnpackOptions {
        limits: Limits {
            entries: config.max_entries.unwrap_or(default.entries),
            bytes: config.max_size.unwrap_or(default.bytes),
            ratio: config.max_ratio.unwrap_or(default.ratio),
            free: default.free,
        },
        outside_links: config.outside_links,
        budget,
    }
}
