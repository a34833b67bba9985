//! Mount points and links in directories of the user's, when the driver that has made them is gone.
//!
//! A driver that lives removes them itself. One that was killed cannot, and what it has left in a user's own tree
//! would stay until somebody else looks. A reaper sees the end of its driver and outlives it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;

use crate::wire::Fixture;

/// How long others may hold a directory before it counts as used.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often to look.
const LOOKS: Duration = Duration::from_millis(1);

/// Removes what is still as it was made, and what nobody else uses. Those below others come later in the list.
pub fn remove(fixtures: &[Fixture]) {
    for fixture in fixtures.iter().rev() {
        match fixture {
            Fixture::Link { path, to } => {
                if fs::read_link(path).is_ok_and(|found| found == Path::new(to)) {
                    let _ = fs::remove_file(path);
                }
            }
            Fixture::Directory { path, device, inode } => {
                let _ = remove_unused(path, (*device, *inode));
            }
        }
    }
}

/// Removes an empty directory if it is the one that was made. Whoever uses one as a mount point holds a shared
/// lock on it, and removing it would take away what is mounted there.
fn remove_unused(path: &str, made: (u64, u64)) -> std::io::Result<()> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = File::options().read(true).custom_flags(flags).open(path)?;
    let found = directory.metadata()?;
    if (found.dev(), found.ino()) != made {
        return Ok(());
    }
    let begun = Instant::now();
    // Another reaper holds it alone for a moment, and a task that lives shares it for as long as that.
    while let Err(TryLockError::WouldBlock) = directory.try_lock() {
        if begun.elapsed() > PATIENCE {
            return Ok(());
        }
        std::thread::sleep(LOOKS);
    }
    fs::remove_dir(path)
}
