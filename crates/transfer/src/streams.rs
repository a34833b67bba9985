//! The ends of a transfer as threads read and write them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use archive::{Root, Sink, Source, Wake};
use bytes::Bytes;
use store::{Download, UploadSender};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::TransferError;
use super::volume::VolumeArchive;
use super::watchdog::{Interrupt, Watchdog};

/// What errors say of a channel whose other side has gone.
pub const NO_MORE: &str = "no more of it";

/// How many bytes of an archive have been moved. Clones count the same bytes.
#[derive(Clone, Default)]
pub struct Moved(Arc<AtomicU64>);

impl Moved {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, chunk: &Bytes) {
        self.0.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
}

fn cancelled() -> io::Error {
    io::Error::other(TransferError::Cancelled)
}

/// A download as a thread reads it.
pub struct Downloaded {
    download: Download,
    over: CancellationToken,
    /// Ends the reading by whoever reads at the moment, and not the download.
    interrupted: CancellationToken,
    runtime: Handle,
    moved: Moved,
}

impl Downloaded {
    /// To be called within a runtime, and read on a thread outside of it.
    pub fn new(download: Download) -> Self {
        Self::until(download, CancellationToken::new(), Moved::default())
    }

    /// The same, with an error instead of content as soon as the token fires.
    pub fn until(download: Download, over: CancellationToken, moved: Moved) -> Self {
        let interrupted = over.child_token();
        Self { download, over, interrupted, runtime: Handle::current(), moved }
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
        let chunk = self.runtime.block_on(async {
            tokio::select! {
                biased;
                chunk = self.download.next() => chunk.map_err(io::Error::other),
                () = self.interrupted.cancelled() => Err(cancelled()),
            }
        })?;
        if let Some(chunk) = &chunk {
            self.moved.add(chunk);
        }
        Ok(chunk)
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.interrupted.clone())))
    }
}

/// What an engine sends, as a thread reads it.
pub struct Received {
    archive: VolumeArchive,
    pub root: Root,
    over: CancellationToken,
    runtime: Handle,
}

impl Received {
    /// To be called within a runtime, and read on a thread outside of it.
    pub fn new(archive: VolumeArchive, root: Root, watchdog: &Watchdog) -> Self {
        Self { archive, root, over: watchdog.over.child_token(), runtime: Handle::current() }
    }
}

impl Source for Received {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                chunk = self.archive.recv() => match chunk {
                    Some(chunk) => Ok(Some(chunk?).filter(|chunk| !chunk.is_empty())),
                    None => Err(io::Error::other(format!("the driver sends {NO_MORE}"))),
                },
                () = self.over.cancelled() => Err(cancelled()),
            }
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.over.clone())))
    }
}

/// What an engine is sent, as a thread writes it.
pub struct Sent {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    over: CancellationToken,
    /// Ends the writing by whoever writes at the moment, and not what is said when it has ended.
    interrupted: CancellationToken,
    runtime: Handle,
}

/// How many chunks wait for the engine.
const WAITING: usize = 4;

impl Sent {
    /// To be called within a runtime, and written to on a thread outside of it. As soon as the token fires,
    /// writing is an error.
    pub fn until(over: &CancellationToken) -> (Self, VolumeArchive) {
        let (chunks, archive) = mpsc::channel(WAITING);
        let over = over.child_token();
        let interrupted = over.child_token();
        (Self { chunks, over, interrupted, runtime: Handle::current() }, archive)
    }

    /// Tells the engine that this is all. Without that word it is not.
    pub fn finish(self) {
        // An engine that has gone away has a reason of its own.
        _ = self.send(Bytes::new(), &self.over);
    }

    fn send(&self, chunk: Bytes, until: &CancellationToken) -> io::Result<()> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = until.cancelled() => Err(cancelled()),
                sent = self.chunks.send(Ok(chunk)) => {
                    sent.map_err(|_| io::Error::other(format!("the driver takes {NO_MORE}")))
                }
            }
        })
    }
}

impl Sink for Sent {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.send(chunk, &self.interrupted)
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.interrupted.clone())))
    }
}

/// An upload as a thread writes it.
pub struct Uploading {
    pub sender: UploadSender,
    over: CancellationToken,
    runtime: Handle,
    moved: Moved,
}

impl Uploading {
    /// To be called within a runtime, and written to on a thread outside of it.
    pub fn new(sender: UploadSender, watchdog: &Watchdog, moved: Moved) -> Self {
        Self { sender, over: watchdog.over.child_token(), runtime: Handle::current(), moved }
    }
}

impl Sink for Uploading {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.moved.add(&chunk);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.over.cancelled() => Err(cancelled()),
                sent = self.sender.send(chunk) => sent.map_err(io::Error::other),
            }
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.over.clone())))
    }
}
