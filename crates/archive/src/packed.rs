//! How the making of an archive ends.

use std::io;

use rustix::io::Errno;

use super::Limits;
use super::compress::{ReadError, Size};
use super::control::Stopped;
use super::file_index::TreeDigest;
use super::path::shown;
use super::unpack::UnpackError;

/// An archive that was packed to its end.
#[derive(Debug)]
pub struct Packed {
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
    /// Of the archive.
    pub compressed_bytes: u64,
    /// Of the tree that is in the archive, as a [`scan`](super::scan) computes it.
    pub digest: TreeDigest,
    /// How many files changed while they were packed. The archive is whole all the same.
    pub changed: u64,
    /// What was left out and why, for people.
    pub notices: Vec<String>,
}

impl Packed {
    /// What is known before the first entry.
    pub(crate) fn empty() -> Self {
        Self {
            entries: 0,
            bytes: 0,
            compressed_bytes: 0,
            digest: TreeDigest([0; 32]),
            changed: 0,
            notices: Vec::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read `{path}`: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the volume: {0}")]
    Root(#[source] io::Error),
    /// Nobody could unpack it.
    #[error("`{path}` cannot be in an archive: {reason}")]
    Refused { path: String, reason: String },
    /// The same, by the settings.
    #[error("the archive could not be unpacked: {0}")]
    Limit(String),
    #[error("cannot write the archive: {0}")]
    Sink(#[source] io::Error),
    /// The archive that the tree comes in is not one.
    #[error("cannot read the volume: {0}")]
    Archive(#[source] UnpackError),
    #[error("packing was stopped")]
    Stopped,
    /// A thread panicked, or could not be started.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<Stopped> for PackError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl PackError {
    pub(super) fn refused(path: &[u8], reason: String) -> Self {
        Self::Refused { path: shown(path), reason }
    }

    pub(super) fn io(path: &[u8], errno: Errno) -> Self {
        Self::Io { path: shown(path), source: errno.into() }
    }
}

impl From<(&[u8], ReadError)> for PackError {
    fn from((path, error): (&[u8], ReadError)) -> Self {
        match error {
            ReadError::File(errno) => Self::io(path, errno),
            ReadError::Pack(error) => error,
        }
    }
}

impl Packed {
    /// Whether the archive obeys the limits that it will be unpacked by.
    pub(super) fn check(&self, limits: &Limits, size: Size) -> Result<(), PackError> {
        let Size { unpacked, compressed } = size;
        if limits.is_bomb(unpacked, compressed) {
            return Err(PackError::Limit(format!(
                "it unpacks to more than {} times its size, allow more with `cache_max_ratio`",
                limits.ratio
            )));
        }
        if unpacked > limits.bytes {
            return Err(PackError::Limit(format!(
                "it holds more bytes than {}, allow more with `cache_max_size`",
                limits.bytes
            )));
        }
        if self.entries > limits.entries {
            return Err(PackError::Limit(format!(
                "it holds more than {} entries, allow more with `cache_max_entries`",
                limits.entries
            )));
        }
        Ok(())
    }
}
