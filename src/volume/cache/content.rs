//! Where the content of a volume is, and how it gets from there to a thread that packs it and back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::transfer::{CANCELLED, Transfer};
use crate::archive::{self, PackError, PackOptions, Packed, Root, Sink, Snapshot, Source, Survey};
use crate::driver::{Driver, Volume, VolumeArchive};

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
            over: transfer.over.clone(),
            runtime: Handle::current(),
        }))
    }

    pub fn survey(
        self,
        known: Option<Arc<Snapshot>>,
        options: &PackOptions,
        stop: &AtomicBool,
    ) -> Result<Survey, PackError> {
        match self {
            Self::Directory(path) => archive::survey(&path, known.as_deref(), options, stop),
            Self::Archive(mut source) => archive::survey_archive(&mut source, options, stop),
        }
    }

    /// Whether there is nothing that an archive would keep.
    pub fn has_nothing(self, options: &PackOptions, stop: &AtomicBool) -> Result<bool, PackError> {
        match self {
            Self::Directory(path) => {
                for entry in std::fs::read_dir(&path).map_err(PackError::Root)? {
                    let kind =
                        entry.and_then(|entry| entry.file_type()).map_err(PackError::Root)?;
                    if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Archive(mut source) => archive::is_empty_archive(&mut source, options, stop),
        }
    }

    pub fn pack(
        self,
        options: &PackOptions,
        sink: &mut dyn Sink,
        stop: &AtomicBool,
    ) -> Result<Packed, PackError> {
        match self {
            Self::Directory(path) => archive::pack(&path, options, sink, stop),
            Self::Archive(mut source) => {
                let root = source.root;
                archive::repack(&mut source, root, options, sink, stop)
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
}

/// What a driver is sent, as a thread writes it.
pub struct Sent(mpsc::Sender<io::Result<Bytes>>);

/// How many chunks wait for the driver.
const WAITING: usize = 4;

impl Sent {
    pub fn channel() -> (Self, VolumeArchive) {
        let (sender, archive) = mpsc::channel(WAITING);
        (Self(sender), archive)
    }

    /// Tells the driver that this is all. Without that word it is not.
    pub fn finish(self) {
        // A driver that has gone away has a reason of its own.
        _ = self.0.blocking_send(Ok(Bytes::new()));
    }
}

impl Sink for Sent {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.0
            .blocking_send(Ok(chunk))
            .map_err(|_| io::Error::other("the driver takes no more of it"))
    }
}
