//! Where the content of a volume is, and how it gets from there to a thread that packs it and back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::transfer::{CANCELLED, Interrupt, Transfer};
use crate::driver::{Driver, Volume, VolumeArchive};
use archive::{
    self, Control, PackError, PackOptions, Packed, Root, Sink, Snapshot, Source, Stage, Survey,
    Wake,
};

/// A volume's content, opened for one look at it.
pub enum Content {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// With a driver, which sends it as an archive.
    Archive(Received),
}

impl Content {
    pub async fn open(
        driver: &dyn Driver,
        volume: &Volume,
        transfer: &Transfer,
    ) -> Result<Self, String> {
        if let Some(directory) = &volume.directory {
            return Ok(Self::Directory(directory.path.clone()));
        }
        let archive = transfer.bounded(driver.read_volume(&volume.name)).await?;
        Ok(Self::Archive(Received {
            archive: archive.map_err(|error| error.to_string())?,
            root: volume.root,
            over: transfer.over.child_token(),
            runtime: Handle::current(),
        }))
    }

    pub fn survey(
        self,
        known: Option<Arc<Snapshot>>,
        options: &PackOptions,
        control: &Control,
    ) -> Result<Survey, PackError> {
        match self {
            Self::Directory(path) => archive::survey(&path, known.as_deref(), options, control),
            Self::Archive(mut source) => archive::survey_archive(&mut source, options, control),
        }
    }

    /// Whether there is nothing that an archive would keep.
    pub fn has_nothing(self, options: &PackOptions, control: &Control) -> Result<bool, PackError> {
        match self {
            Self::Directory(path) => {
                let _reading = control.enter(Stage::Pack);
                for entry in std::fs::read_dir(&path).map_err(PackError::Root)? {
                    let kind =
                        entry.and_then(|entry| entry.file_type()).map_err(PackError::Root)?;
                    if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Archive(mut source) => archive::is_empty_archive(&mut source, options, control),
        }
    }

    pub fn pack(
        self,
        options: &PackOptions,
        sink: &mut dyn Sink,
        control: &Control,
    ) -> Result<Packed, PackError> {
        match self {
            Self::Directory(path) => archive::pack(&path, options, sink, control),
            Self::Archive(mut source) => {
                let root = source.root;
                archive::repack(&mut source, root, options, sink, control)
            }
        }
    }
}

/// What a driver sends, as a thread reads it.
pub struct Received {
    archive: VolumeArchive,
    root: Root,
    over: CancellationToken,
    runtime: Handle,
}

impl Source for Received {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                chunk = self.archive.recv() => match chunk {
                    Some(chunk) => Ok(Some(chunk?).filter(|chunk| !chunk.is_empty())),
                    None => Err(io::Error::other("the driver sends no more of it")),
                },
                () = self.over.cancelled() => Err(io::Error::other(CANCELLED)),
            }
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.over.clone())))
    }
}

/// What a driver is sent, as a thread writes it.
pub struct Sent {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    over: CancellationToken,
    runtime: Handle,
}

/// How many chunks wait for the driver.
const WAITING: usize = 4;

impl Sent {
    /// To be called within a runtime, and written to on a thread outside of it. As soon as the token fires,
    /// writing is an error.
    pub fn until(over: &CancellationToken) -> (Self, VolumeArchive) {
        let (chunks, archive) = mpsc::channel(WAITING);
        (Self { chunks, over: over.child_token(), runtime: Handle::current() }, archive)
    }

    /// Tells the driver that this is all. Without that word it is not.
    pub fn finish(self) {
        // A driver that has gone away has a reason of its own.
        _ = self.send(Bytes::new());
    }

    fn send(&self, chunk: Bytes) -> io::Result<()> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.over.cancelled() => Err(io::Error::other(CANCELLED)),
                sent = self.chunks.send(Ok(chunk)) => {
                    sent.map_err(|_| io::Error::other("the driver takes no more of it"))
                }
            }
        })
    }
}

impl Sink for Sent {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.send(chunk)
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.over.clone())))
    }
}
