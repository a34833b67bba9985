//! A volume's content, opened for one look at it.

use std::path::PathBuf;

use archive::{self, Control, FileIndex, PackError, PackOptions, Packed, Scan, Sink, Stage};

use super::error::TransferError;
use super::streams::Received;
use super::volume::VolumeAccess;
use super::watchdog::Watchdog;

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
