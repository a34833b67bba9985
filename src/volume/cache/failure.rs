//! Why a restore failed, and what that means for the archive in the store.

use std::fmt;

use super::download::Downloaded;
use crate::cache::StoreError;
use archive::{Control, Stage, UnpackError};

#[derive(Debug)]
pub enum RestoreError {
    Unpack(UnpackError),
    /// Anything that the archive has nothing to do with, in words.
    Other(String),
}

/// What a persist may put a volume in the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// Whatever is there: of runs that succeed, the last one wins.
    Anything,
    /// Only the damaged archive with this etag.
    Version(String),
    /// Nothing, for this reason: the archive may be good, and the volume lacks what it holds.
    Nothing(String),
}

impl RestoreError {
    /// Whether the archive was read to its end and is itself wrong. Everything else may be different at
    /// another time or on another machine: the connection, the disk, the settings of this run.
    ///
    /// The one place where this is decided. [`confirmed`] has read to the end.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unpack(error) => error.is_of_archive(),
            Self::Other(_) => false,
        }
    }

    /// Whether another run replaced the archive while it was read.
    pub fn is_changed(&self) -> bool {
        let Self::Unpack(UnpackError::Source(error)) = self else { return false };
        let store = error.get_ref().and_then(|error| error.downcast_ref::<StoreError>());
        matches!(store, Some(StoreError::Changed { .. }))
    }
}

/// Reads the rest of an archive that seems to be damaged. If that fails, the download is what is wrong.
pub fn confirmed(error: UnpackError, source: &mut Downloaded, control: &Control) -> RestoreError {
    let error = RestoreError::Unpack(error);
    if !error.is_damage() {
        return error;
    }
    let _downloading = control.enter(Stage::Download);
    match source.drain() {
        Ok(()) => error,
        Err(source) => RestoreError::Unpack(UnpackError::Source(source)),
    }
}

impl From<String> for RestoreError {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpack(error) => error.fmt(f),
            Self::Other(reason) => reason.fmt(f),
        }
    }
}
