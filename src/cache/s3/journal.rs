//! Which uploads this machine has begun, so that those of a killed process can be taken back.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::S3Location;

/// A directory with a file for each upload, locked for as long as its process lives.
#[derive(Clone)]
pub struct Journal {
    directory: PathBuf,
    server: String,
    bucket: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    server: String,
    bucket: String,
    key: String,
    upload: String,
}

/// An upload that is under way.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

/// An upload whose process is gone.
pub struct Left {
    pub key: String,
    pub upload: String,
    entry: Entry,
}

impl Journal {
    pub fn new(state: &Path, location: &S3Location) -> Self {
        Self {
            directory: state.join("uploads"),
            server: location.endpoint.clone().unwrap_or_default(),
            bucket: location.bucket.clone(),
        }
    }

    /// Takes note of an upload. A journal that cannot be written is no reason not to upload: what a
    /// killed process leaves is swept after a day then.
    pub fn note(&self, key: &str, upload: &str) -> Option<Entry> {
        let record = Record {
            server: self.server.clone(),
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            upload: upload.to_owned(),
        };
        let text = serde_json::to_vec(&record).ok()?;
        fs::create_dir_all(&self.directory).ok()?;
        let path = self.directory.join(uuid::Uuid::new_v4().to_string());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).ok()?;
        // Locked before there is anything to be read.
        file.try_lock().ok()?;
        file.write_all(&text).ok()?;
        Some(Entry { path, _file: file })
    }

    /// Uploads to this bucket that nobody works on any more.
    pub fn left_behind(&self) -> Vec<Left> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| self.left(entry.path())).collect()
    }

    fn left(&self, path: PathBuf) -> Option<Left> {
        let file = File::open(&path).ok()?;
        file.try_lock().ok()?;
        let entry = Entry { path, _file: file };
        let text = fs::read(&entry.path).ok()?;
        let Ok(record) = serde_json::from_slice::<Record>(&text) else {
            // Its process was killed before it was written.
            entry.forget();
            return None;
        };
        (record.server == self.server && record.bucket == self.bucket).then_some(Left {
            key: record.key,
            upload: record.upload,
            entry,
        })
    }
}

impl Entry {
    pub fn forget(self) {
        // A file that stays names an upload that is no more.
        _ = fs::remove_file(&self.path);
    }
}

impl Left {
    pub fn forget(self) {
        self.entry.forget();
    }
}
