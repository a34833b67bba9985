//! Why a transfer failed.

use std::io;

use archive::{PackError, UnpackError};
use serde::{Deserialize, Serialize};
use store::StoreError;

/// Why a transfer failed. A volume that was to be restored is empty, and the object that was to be replaced
/// is what it was. The variants are what callers decide by; each has the reason in words.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferError {
    /// Another writer has replaced the object while it was read, each time.
    #[error("{0}")]
    Changed(String),
    /// The condition of a `Persist` does not hold; something else is under the key.
    #[error("{0}")]
    Conflict(String),
    /// The settings, the credentials or the rights have to change.
    #[error("{0}")]
    Denied(String),
    /// The store cannot be reached; it may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The archive was read to its end and is wrong, whoever reads it. `candidate` and `etag` name it.
    #[error("{reason}")]
    Corrupt { reason: String, candidate: usize, etag: String },
    /// The settings of this job, or this version of the program, do not allow what the archive or the
    /// volume holds.
    #[error("{0}")]
    Refused(String),
    /// The deadline passed.
    #[error("{0}")]
    OverBudget(String),
    /// Nothing moved for longer than a stall may last.
    #[error("{0}")]
    Stalled(String),
    #[error("it was cancelled")]
    Cancelled,
    /// A file, a directory or the connection to the volume failed.
    #[error("{0}")]
    Io(String),
    /// A fault of this program.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for TransferError {
    fn from(error: &StoreError) -> Self {
        let reason = error.to_string();
        match error {
            StoreError::Changed { .. } => Self::Changed(reason),
            StoreError::Replaced { .. } | StoreError::Foreign { .. } => Self::Conflict(reason),
            StoreError::Misconfigured(_) | StoreError::Denied(_) => Self::Denied(reason),
            StoreError::OverBudget { .. } => Self::OverBudget(reason),
            StoreError::Unavailable(_)
            | StoreError::Stalled { .. }
            | StoreError::Length { .. }
            | StoreError::Unfinished { .. }
            | StoreError::Other(_) => Self::Unavailable(reason),
            StoreError::Io { .. } => Self::Io(reason),
        }
    }
}

impl From<PackError> for TransferError {
    fn from(error: PackError) -> Self {
        let reason = error.to_string();
        match error {
            PackError::Refused { .. } | PackError::Limit(_) => Self::Refused(reason),
            PackError::Stopped => Self::Cancelled,
            PackError::Internal(_) => Self::Internal(reason),
            PackError::Io { .. }
            | PackError::Root(_)
            | PackError::Sink(_)
            | PackError::Archive(_) => Self::Io(reason),
        }
    }
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl TransferError {
    /// Of an archive that was read to its end, if the error is one of the archive: the one with this number
    /// and version.
    pub(crate) fn of_archive(error: UnpackError, candidate: usize, etag: &str) -> Self {
        let reason = error.to_string();
        if error.is_of_archive() {
            return Self::Corrupt { reason, candidate, etag: etag.to_owned() };
        }
        match &error {
            UnpackError::Source(source) => match store_error(source) {
                Some(error) => error.into(),
                None => Self::Io(reason),
            },
            UnpackError::Stopped => Self::Cancelled,
            UnpackError::Internal(_) => Self::Internal(reason),
            UnpackError::Io { .. } | UnpackError::Sink(_) => Self::Io(reason),
            UnpackError::Refused { .. }
            | UnpackError::Limit(_)
            | UnpackError::Unsupported(_)
            | UnpackError::Corrupt(_)
            | UnpackError::Damaged(_) => Self::Refused(reason),
        }
    }
}

/// What a store said while an archive was read from it.
fn store_error(error: &io::Error) -> Option<&StoreError> {
    error.get_ref()?.downcast_ref()
}
