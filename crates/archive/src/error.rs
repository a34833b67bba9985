//! Why an archive could not be made or unpacked.

use std::io;

use rustix::io::Errno;

use crate::flow::control::Stopped;
use crate::path::shown;

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
    pub(crate) fn refused(path: &[u8], reason: String) -> Self {
        Self::Refused { path: shown(path), reason }
    }

    pub(crate) fn io(path: &[u8], errno: Errno) -> Self {
        Self::Io { path: shown(path), source: errno.into() }
    }
}

impl From<UnpackError> for PackError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Stopped => Self::Stopped,
            UnpackError::Internal(reason) => Self::Internal(reason),
            UnpackError::Refused { path, reason, .. } => Self::Refused { path, reason },
            UnpackError::Limit(reason) => Self::Limit(reason),
            error => Self::Archive(error),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The source could not be read to its end.
    #[error("{0}")]
    Source(#[source] io::Error),
    /// It is no archive, or a part of one.
    #[error("the archive is corrupt: {0}")]
    Corrupt(String),
    /// It may be good, and takes more than this version can do. Says what to do about it.
    #[error("the archive is not supported: {0}")]
    Unsupported(String),
    /// It was read to its end and is another one than was packed.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// The first entry that no archive may have, unless it is so by a setting or for this user.
    #[error("the archive is refused for `{path}`: {reason}")]
    Refused { path: String, reason: String, by_setting: bool },
    /// More than the settings allow.
    #[error("the archive is refused: {0}")]
    Limit(String),
    #[error("cannot create `{path}`: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    /// Whoever was to get it did not take it.
    #[error("cannot hand the archive on: {0}")]
    Sink(#[source] io::Error),
    #[error("unpacking was stopped")]
    Stopped,
    /// A thread panicked, or could not be started.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<Stopped> for UnpackError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl UnpackError {
    /// Whether the archive itself is wrong, whoever reads it by whatever settings. Anything else may be
    /// different at another time, elsewhere or with another program, and the archive as good as it was.
    pub fn is_of_archive(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Damaged(_) => true,
            Self::Refused { by_setting, .. } => !by_setting,
            Self::Source(_)
            | Self::Unsupported(_)
            | Self::Limit(_)
            | Self::Io { .. }
            | Self::Sink(_)
            | Self::Stopped
            | Self::Internal(_) => false,
        }
    }

    pub(crate) fn malformed(what: &str) -> Self {
        Self::Corrupt(format!("{what} is malformed"))
    }

    pub(crate) fn ends_early() -> Self {
        Self::Corrupt("it ends early".to_owned())
    }

    pub(crate) fn refused(path: &[u8], reason: impl Into<String>) -> Self {
        Self::Refused { path: shown(path), reason: reason.into(), by_setting: false }
    }

    /// The same if another setting or another user may allow it.
    pub(crate) fn refused_by_setting(path: &[u8], reason: impl Into<String>) -> Self {
        Self::Refused { path: shown(path), reason: reason.into(), by_setting: true }
    }

    pub(crate) fn io(path: &[u8], errno: Errno) -> Self {
        Self::Io { path: shown(path), source: errno.into() }
    }
}
