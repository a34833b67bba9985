//! The directory that a run has to itself.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::remove::remove;

/// `<parent>/<number>`: the lowest number that no other run holds, so that paths are stable from
/// run to run and yet never shared.
///
/// The lock ends when every process that holds a copy of it has ended, so never before the run's
/// last task.
#[derive(Debug)]
pub struct Slot {
    pub path: PathBuf,
    pub lock: File,
}

const LOCK: &str = "lock";

/// How often a directory may be removed by another run between two steps of this one.
const PATIENCE: usize = 1000;

impl Slot {
    /// Takes a slot below `parent`. It may hold what a run left that was killed.
    pub fn acquire(parent: &Path) -> io::Result<Self> {
        let mut number = 0_u32;
        let mut vanished = 0;
        loop {
            let path = parent.join(number.to_string());
            make_directory(&path)?;
            match lock(&path) {
                Ok(Some(lock)) => return Ok(Self { path, lock }),
                Ok(None) => number += 1,
                // Its owner has just removed it.
                Err(error) if error.kind() == ErrorKind::NotFound && vanished < PATIENCE => {
                    vanished += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the slot with everything in it, and the directories above that are empty then, up
    /// to `root`, which stays.
    pub fn remove(&self, root: &Path) -> io::Result<()> {
        let mut result = Ok(());
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != LOCK {
                result = result.and(remove(&entry.path()));
            }
        }
        result?;
        // Whoever waits for this lock sees that it is no longer the one at this path.
        fs::remove_file(self.path.join(LOCK))?;
        for directory in self.path.ancestors().take_while(|directory| *directory != root) {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                // Another run uses it, or was faster.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Removes what killed runs left in slots below `namespace`, of any pipeline, and returns how many
/// slots that were. Slots that are held stay untouched.
pub fn remove_leftovers(namespace: &Path, root: &Path) -> usize {
    let mut removed = 0;
    let directories = |path: &Path| -> Vec<PathBuf> {
        // What cannot be read now is the next run's to find.
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    for pipeline in directories(namespace) {
        for path in directories(&pipeline) {
            if let Ok(Some(lock)) = lock_existing(&path) {
                removed += usize::from(Slot { path, lock }.remove(root).is_ok());
            }
        }
    }
    removed
}

/// Locks a slot's directory. `None` if another run holds it.
fn lock(slot: &Path) -> io::Result<Option<File>> {
    locked(slot, true)
}

fn lock_existing(slot: &Path) -> io::Result<Option<File>> {
    locked(slot, false)
}

fn locked(slot: &Path, create: bool) -> io::Result<Option<File>> {
    let path = slot.join(LOCK);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Between the opening and the locking, its owner may have removed it.
    let (held, found) = (file.metadata()?, fs::symlink_metadata(&path)?);
    if (held.dev(), held.ino()) != (found.dev(), found.ino()) {
        return Err(ErrorKind::NotFound.into());
    }
    Ok(Some(file))
}

/// Makes a directory and those above it, readable for tasks of other users.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for _ in 0..PATIENCE {
        result = DirBuilder::new().recursive(true).mode(0o755).create(path);
        match &result {
            // A run that ends removes the directories above that are empty.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbered_from_the_lowest_free() {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("native/default/p");
        let first = Slot::acquire(&parent).unwrap();
        let second = Slot::acquire(&parent).unwrap();
        assert_eq!((&first.path, &second.path), (&parent.join("0"), &parent.join("1")));
        first.remove(root.path()).unwrap();
        drop(first);
        let third = Slot::acquire(&parent).unwrap();
        assert_eq!(third.path, parent.join("0"));
        second.remove(root.path()).unwrap();
        third.remove(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_that_was_removed_meanwhile_is_not_taken_for_the_slot() {
        let root = tempfile::tempdir().unwrap();
        let slot = Slot::acquire(root.path()).unwrap();
        fs::remove_file(slot.path.join(LOCK)).unwrap();
        let other = Slot::acquire(root.path()).unwrap();
        assert_eq!(other.path, slot.path);
        drop(slot);
        assert!(lock_existing(&other.path).unwrap().is_none());
    }

    #[test]
    fn leftovers_are_removed_and_held_slots_stay() {
        let root = tempfile::tempdir().unwrap();
        let namespace = root.path().join("native/default");
        let held = Slot::acquire(&namespace.join("p")).unwrap();
        let killed = Slot::acquire(&namespace.join("p")).unwrap();
        fs::create_dir_all(killed.path.join("tasks/build/x")).unwrap();
        let path = killed.path.clone();
        drop(killed);
        let other = Slot::acquire(&namespace.join("q")).unwrap().path;
        remove_leftovers(&namespace, root.path());
        assert!(held.path.exists() && !path.exists() && !other.exists());
    }
}
