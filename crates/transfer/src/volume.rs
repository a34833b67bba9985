//! How the content of a volume is reached.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use archive::Root;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

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
