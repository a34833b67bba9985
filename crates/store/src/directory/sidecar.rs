//! What the writer of an object said about it, in a file beside the object.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the name of a file with metadata starts with; a hash of the object's name follows.
const METADATA: &str = ".ci-meta-";

/// How much of a file with metadata is read, in bytes.
const MAX_SIDECAR: u64 = 64 << 10;

/// What a file of metadata holds.
#[derive(Serialize, Deserialize)]
pub struct Sidecar {
    /// Of the object that it belongs to.
    pub identity: Identity,
    pub pairs: Vec<(String, String)>,
}

/// One version of a file among all that ever have its name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub inode: u64,
    pub size: u64,
    pub modified_seconds: i64,
    pub modified_nanos: i64,
}

impl Identity {
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified_seconds: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
        }
    }
}

/// The file with an object's metadata.
pub fn metadata_file(object: &Path) -> PathBuf {
    // The whole name may be as long as a file system allows.
    let name = object.file_name().unwrap_or_default().as_encoded_bytes();
    object.with_file_name(format!("{METADATA}{}", &blake3::hash(name).to_hex()[..32]))
}

pub fn read_sidecar(path: &Path) -> Option<Sidecar> {
    // A larger one is none.
    let mut text = Vec::new();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    file.take(MAX_SIDECAR).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
