//! The lock under which objects of a directory are compared, published and removed.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::io;
use crate::error::StoreError;

/// How long a lock is waited for. It is held for two renames, so whoever holds it longer is stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a lock that somebody holds is tried again.
const INTERVAL: Duration = Duration::from_millis(5);

/// Locks a directory itself, so that no file has to be kept for it.
pub enum DirectoryLock {
    Held {
        /// Unlocks when it is closed.
        _directory: File,
    },
    /// The file system has no locks for directories, as some network file systems.
    Unsupported,
}

impl DirectoryLock {
    /// Waits on this thread.
    pub fn acquire(path: &Path) -> Result<Self, StoreError> {
        let directory = File::open(path).map_err(io(path))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Self::Held { _directory: directory }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    let patience = humantime::format_duration(PATIENCE);
                    return Err(StoreError::Unavailable(format!(
                        "another process has locked `{}` for more than {patience}",
                        path.display()
                    )));
                }
                Err(TryLockError::Error(_)) => return Ok(Self::Unsupported),
            }
        }
    }

    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}
