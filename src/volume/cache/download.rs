//! A download as a thread reads it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::DIGEST_VERSION;
use super::transfer::{CANCELLED, Interrupt};
use crate::cache::{CacheConfig, Download, KEY_VERSION, Metadata};
use archive::{Budget, Limits, Source, UnpackOptions, Wake};

pub struct Downloaded {
    download: Download,
    over: CancellationToken,
    /// Ends the reading by whoever reads at the moment, and not the download.
    interrupted: CancellationToken,
    runtime: Handle,
}

impl Downloaded {
    /// To be called within a runtime, and read on a thread outside of it.
    pub fn new(download: Download) -> Self {
        Self::until(download, CancellationToken::new())
    }

    /// The same, with an error instead of content as soon as the token fires.
    pub fn until(download: Download, over: CancellationToken) -> Self {
        let interrupted = over.child_token();
        Self { download, over, interrupted, runtime: Handle::current() }
    }

    /// Reads what a failed unpacking has left of the archive, to its end.
    pub fn drain(&mut self) -> io::Result<()> {
        // The unpacking interrupted its source when it failed.
        self.interrupted = self.over.child_token();
        while self.next()?.is_some() {}
        Ok(())
    }
}

impl Source for Downloaded {
    fn size(&self) -> Option<u64> {
        Some(self.download.size())
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                chunk = self.download.next() => chunk.map_err(io::Error::other),
                () = self.interrupted.cancelled() => Err(io::Error::other(CANCELLED)),
            }
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.interrupted.clone())))
    }
}

/// How an archive of a cache is unpacked, of which the store knows this.
pub fn unpack_options(config: &CacheConfig, stored: &Metadata, budget: Budget) -> UnpackOptions {
    // Another version computes other digests.
    let digest = stored.digest.as_deref().filter(|_| stored.version == Some(DIGEST_VERSION));
    UnpackOptions {
        limits: limits(config),
        outside_links: config.outside_links,
        setuid: config.setuid,
        expected: digest.and_then(|digest| digest.parse().ok()),
        // Since keys are made in this way, all archives are sealed.
        sealed: stored.key_version.is_some_and(|version| version >= KEY_VERSION),
        budget,
    }
}

/// What an archive of a cache may hold at most.
pub fn limits(config: &CacheConfig) -> Limits {
    let default = Limits::default();
    Limits {
        entries: config.max_entries.unwrap_or(default.entries),
        bytes: config.max_size.unwrap_or(default.bytes),
        ratio: config.max_ratio.unwrap_or(default.ratio),
        free: default.free,
    }
}
