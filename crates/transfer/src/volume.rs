//! How the content of a volume is reached.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use archive::{self, Control, FileIndex, PackError, PackOptions, Packed, Root, Scan, Sink, Stage};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::streams::Received;
use super::{TransferError, Watchdog};

/// How the content of a volume is reached by whoever moves it.
#[derive(Clone)]
pub enum VolumeAccess {
    /// In a directory of this machine.
    Local(LocalDirectory),
    /// Behind an engine, which sends and takes it as an archive.
    Stream(Arc<dyn VolumeStream>),
}

/// A volume's content as a directory that this process can read and write.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalDirectory {
    pub path: PathBuf,
    /// A path on the same file system that nothing else uses and nothing is at: what is built there
    /// takes the place of the volume's directory by a rename, for as long as no task has mounted it.
    pub staging: PathBuf,
}

/// An uncompressed tar archive in chunks, its names relative to the volume. An empty chunk is its end: a
/// channel that closes before that says that it was cut off, for whatever reason.
pub type VolumeArchive = mpsc::Receiver<io::Result<Bytes>>;

/// A volume whose content goes through an engine.
#[async_trait]
pub trait VolumeStream: Send + Sync {
    /// Whose what belongs to root is in what [`read`](Self::read) sends.
    fn root(&self) -> Root;

    /// The content of the volume, with owners and modes, and times and attributes as far as the engine can
    /// read them.
    async fn read(&self) -> io::Result<VolumeArchive>;

    /// Fills a volume that is empty and that no task has mounted yet. It has all of the archive's content
    /// when this has succeeded, and is empty otherwise. Owners are those that tasks see.
    async fn write(&self, archive: VolumeArchive) -> io::Result<()>;
}

/// A volume's content, opened for one look at it.
pub enum Content {
    Directory(PathBuf),
    Archive(Received),
}

impl Content {
    pub async fn open(volume: &VolumeAccess, watchdog: &Watchdog) -> Result<Self, TransferError> {
        match volume {
            VolumeAccess::Local(directory) => Ok(Self::Directory(directory.path.clone())),
            VolumeAccess::Stream(stream) => {
                let archive = watchdog.bounded(stream.read()).await??;
                Ok(Self::Archive(Received::new(archive, stream.root(), watchdog)))
            }
        }
    }

    pub fn scan(
        self,
        known: Option<&FileIndex>,
        options: &PackOptions,
        control: &Control,
    ) -> Result<Scan, PackError> {
        match self {
            Self::Directory(path) => archive::scan(&path, known, options, control),
            Self::Archive(mut source) => archive::scan_archive(&mut source, options, control),
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
                archive::transcode(&mut source, root, options, sink, control)
            }
        }
    }
}
