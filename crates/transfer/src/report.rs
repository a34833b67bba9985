//! What a transfer came to.

use std::sync::Arc;
use std::time::Duration;

use archive::{FileIndex, TreeDigest, Unpacked};
use serde::{Deserialize, Serialize};
use store::{CacheKey, ObjectInfo, SentPart};

/// What a transfer came to that did not fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferReport {
    pub outcome: Outcome,
    /// The object that was read.
    pub object: Option<ObjectInfo>,
    /// Of the archive, in bytes.
    pub bytes: u64,
    /// Of the content of all files, in bytes.
    pub content_bytes: u64,
    /// Files, directories and links, without the root.
    pub entries: u64,
    /// Of the volume's tree, computed from the content that was read.
    pub digest: Option<TreeDigest>,
    /// What the volume's files are now.
    pub index: Option<Arc<FileIndex>>,
    /// What a person should know.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The volume has the content of the candidate with this number.
    Restored {
        candidate: usize,
    },
    /// There is no object to read.
    Missing {
        misses: Vec<Miss>,
    },
    Verified,
    Scanned,
    /// The volume holds nothing that an archive would keep.
    Empty,
    /// The volume holds something.
    Filled,
    Published,
    /// All parts of the archive were uploaded; whoever granted that publishes them.
    Sent {
        parts: Vec<SentPart>,
    },
    /// Files changed while they were read, so that the metadata would have been of another tree; nothing
    /// was published.
    Changing,
}

/// Why a candidate was not restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    Absent { key: CacheKey },
    OfAnotherVolume { key: CacheKey },
    Expired { key: CacheKey, age: Duration },
}

/// How far a transfer has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferUpdate {
    /// An object was found and is being restored; it has so many bytes.
    Found { key: CacheKey, bytes: u64 },
    /// So many bytes of the archive were read or written so far.
    Moved { bytes: u64 },
}

impl TransferReport {
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            object: None,
            bytes: 0,
            content_bytes: 0,
            entries: 0,
            digest: None,
            index: None,
            notices: Vec::new(),
        }
    }

    pub(crate) fn of_unpacked(outcome: Outcome, object: ObjectInfo, unpacked: Unpacked) -> Self {
        Self {
            outcome,
            bytes: object.size,
            object: Some(object),
            content_bytes: unpacked.bytes,
            entries: unpacked.entries,
            digest: unpacked.digest,
            index: Some(Arc::new(unpacked.file_index)),
            notices: unpacked.notices,
        }
    }
}

impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent { key } => write!(f, "no `{key}`"),
            Self::OfAnotherVolume { key } => write!(f, "`{key}` is of another volume"),
            Self::Expired { key, age } => {
                let whole = Duration::from_secs(age.as_secs());
                write!(f, "`{key}` is {} old", humantime::format_duration(whole))
            }
        }
    }
}
