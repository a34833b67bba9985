//! Which uploads this machine has begun, so that those of a killed process can be taken back.
//!
//! Each upload in parts has a file in the state directory that is locked while its process lives. The next
//! run on the machine aborts those without a lock, while it restores its volumes. No run aborts any other
//! upload: a listing tells keys and times but nothing that the writers have said, so an orphan looks like an
//! upload that a live writer elsewhere has just begun. For these there are `ci cache uploads` and the
//! bucket's lifecycle rule.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::location::S3Location;

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

/// An upload of a process that is alive.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Live {
    pub key: String,
    pub upload: String,
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
    /// killed process leaves then stays, until `ci cache uploads` or the bucket's lifecycle ends it.
    pub fn note(&self, key: &str, upload: &str) -> Option<Entry> {
        let record = Record {
            server: self.server.clone(),
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            upload: upload.to_owned(),
        };
        let text = serde_json::to_vec(&record).ok()?;
        files::trust::make(&self.directory).ok()?;
        loop {
            let path = self.directory.join(uuid::Uuid::new_v4().to_string());
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).ok()?;
            // Locked before there is anything to be read. Another process may have taken it for one of a
            // killed process before that, and removed it.
            if file.try_lock().is_ok() && is_at(&file, &path) {
                file.write_all(&text).ok()?;
                return Some(Entry { path, _file: file });
            }
        }
    }

    /// Uploads to this bucket that nobody works on any more.
    pub fn left_behind(&self) -> Vec<Left> {
        self.files().filter_map(|path| self.left(path)).collect()
    }

    /// Uploads to this bucket that processes of this machine work on.
    pub fn alive(&self) -> Vec<Live> {
        self.files().filter_map(|path| self.live(&path)).collect()
    }

    /// What this program has made there: files that are named by a random UUID.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        // What another user can write says nothing about what this program has begun.
        let is_ours = files::trust::exists(&self.directory).unwrap_or(false);
        let entries = is_ours.then(|| fs::read_dir(&self.directory));
        let entries = entries.into_iter().flatten().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            uuid::Uuid::parse_str(name).is_ok_and(|uuid| uuid.to_string() == name)
        })
    }

    fn left(&self, path: PathBuf) -> Option<Left> {
        let file = File::open(&path).ok()?;
        file.try_lock().ok()?;
        if !is_at(&file, &path) {
            return None;
        }
        let entry = Entry { path, _file: file };
        let text = fs::read(&entry.path).ok()?;
        let Ok(record) = serde_json::from_slice::<Record>(&text) else {
            // Its process was killed before it was written.
            entry.forget();
            return None;
        };
        self.is_about(&record).then_some(Left { key: record.key, upload: record.upload, entry })
    }

    fn live(&self, path: &Path) -> Option<Live> {
        let file = File::open(path).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        self.is_about(&record).then_some(Live { key: record.key, upload: record.upload })
    }

    fn is_about(&self, record: &Record) -> bool {
        record.server == self.server && record.bucket == self.bucket
    }
}

/// Whether an open file is still what its path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
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
