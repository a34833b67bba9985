//! Directories for what is on its way, such as a volume that comes from an engine.
//!
//! Each has a lock file that is held for as long as it is used. A directory whose lock is free was left by a
//! process that was killed, and is removed by the next one that makes a directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use files::remove::remove;
use files::trust;
use nix::libc;

use super::state;

const SCRATCH: &str = "scratch";
const LOCK: &str = "lock";
const CONTENT: &str = "content";
const OLDER: &str = "older";

/// What the names of those begin with that are in a directory of the user's.
const HIDDEN: &str = ".ci-scratch-";

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Says that the directory is used.
    _lock: File,
}

impl Scratch {
    /// Makes one, with nothing in it but the lock.
    pub fn new() -> io::Result<Self> {
        let all = state::directory().join(SCRATCH);
        trust::make(&all)?;
        Self::below(&all, "")
    }

    /// Makes a hidden one in a directory of the user's: what is built there can be moved to a name in that
    /// directory.
    pub fn near(directory: &Path) -> io::Result<Self> {
        Self::below(directory, HIDDEN)
    }

    fn below(all: &Path, prefix: &str) -> io::Result<Self> {
        sweep(all, prefix);
        loop {
            let path = all.join(format!("{prefix}{}", uuid::Uuid::new_v4()));
            DirBuilder::new().mode(0o700).create(&path)?;
            let lock =
                File::create_new(path.join(LOCK)).and_then(|lock| lock.lock().map(|()| lock));
            let lock = lock.inspect_err(|_| _ = remove(&path))?;
            // Another process may have taken it for a directory that was left behind.
            if path.join(LOCK).exists() {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where the content belongs. Nothing is there at first.
    pub fn content(&self) -> PathBuf {
        self.path.join(CONTENT)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second place, for what the content takes the place of.
    pub fn older(&self) -> PathBuf {
        self.path.join(OLDER)
    }

    /// Removes it on a thread that may block.
    pub async fn remove(self) {
        // A panic has been told already.
        _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// Removes one of these directories, the lock last: until then a later process knows it for what it is, and
/// goes on if this one is killed.
fn clear(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name() != LOCK) {
        if remove(&entry.path()).is_err() {
            return;
        }
    }
    _ = remove(path);
}

/// Removes the directories of processes that are no more. One without a lock is nobody's.
fn sweep(all: &Path, prefix: &str) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if id.is_none_or(|id| uuid::Uuid::parse_str(id).is_err()) {
            continue;
        }
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let Ok(lock) = options.open(entry.path().join(LOCK)) else { continue };
        if lock.metadata().is_ok_and(|found| found.is_file()) && lock.try_lock().is_ok() {
            clear(&entry.path());
        }
    }
}
