//! The directory that a run has to itself.
//!
//! A run directory is recognised by the content of its lock file. `dir=` may name any directory of the
//! user's, so a directory without that marker is neither used nor removed, whatever its name is.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use files::remove::remove;

/// `<parent>/<number>`: the lowest number that no other run holds, so that paths are stable from
/// run to run and yet never shared.
///
/// The lock ends when every process that holds a copy of it has ended, so never before the run's
/// last task.
#[derive(Debug)]
pub struct RunDirectory {
    pub path: PathBuf,
    pub lock: File,
}

const LOCK: &str = "lock";

/// What a lock file holds. A directory without it is not a run's, whatever its name, and is left alone:
/// `dir=` may be any directory of the user's.
const MARKER: &[u8] = b"This directory belongs to a run of `ci`, which removes all of it.\n";

/// How often a directory may be removed by another run between two steps of this one.
const PATIENCE: usize = 1000;

impl RunDirectory {
    /// Takes a directory below `parent`. It may hold what a run left that was killed.
    pub fn acquire(parent: &Path) -> io::Result<Self> {
        let mut number = 0_u32;
        let mut vanished = 0;
        loop {
            let path = parent.join(number.to_string());
            match files::trust::make(&path).and_then(|()| lock(&path)) {
                // A run that ends removes the directories above that are empty, so what was at this path
                // may have been put there since. From now on the path stays.
                Ok(Some(lock)) if files::trust::exists(&path)? => {
                    // No other user needs to look at what a run works on, or to run it: a volume may hold
                    // programs with the setuid bit. `Directories::admit` lets users of tasks in.
                    fs::set_permissions(&path, Permissions::from_mode(0o700))?;
                    return Ok(Self { path, lock });
                }
                Ok(Some(_)) if vanished < PATIENCE => vanished += 1,
                Ok(Some(_)) => return Err(ErrorKind::NotFound.into()),
                // Another run's, or none of a run's.
                Ok(None) => number += 1,
                // Its owner has just removed it.
                Err(error) if error.kind() == ErrorKind::NotFound && vanished < PATIENCE => {
                    vanished += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the directory with everything in it, and the directories above that are empty then, up
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
///
/// Nothing is removed where another user can change what the path leads to.
pub fn remove_leftovers(namespace: &Path, root: &Path) -> usize {
    let mut removed = 0;
    if !files::trust::exists(namespace).unwrap_or(false) {
        return 0;
    }
    let directories = |path: &Path| -> Vec<PathBuf> {
        // What cannot be read now is the next run's to find.
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    for pipeline in directories(namespace) {
        for path in directories(&pipeline) {
            if let Ok(Some(lock)) = lock_existing(&path) {
                removed += usize::from(RunDirectory { path, lock }.remove(root).is_ok());
            }
        }
    }
    removed
}

/// Locks a run's directory, which may be new. `None` if another run holds it, or if it holds something
/// that no run has made.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    match is_empty(directory)? {
        true => locked(directory, true),
        false => lock_existing(directory),
    }
}

/// The same for one that is a directory already.
fn lock_existing(directory: &Path) -> io::Result<Option<File>> {
    match locked(directory, false) {
        Err(error) if error.kind() == ErrorKind::NotFound && directory.exists() => Ok(None),
        // A link, a directory or something else that no run makes.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR)) => Ok(None),
        locked => locked,
    }
}

/// Whether nothing is in a directory, but perhaps the lock of a run that was killed before it could mark
/// it.
fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_unmarked = || {
            let found = entry.metadata()?;
            Ok::<_, io::Error>(found.is_file() && found.len() == 0)
        };
        if entry.file_name() != LOCK || !is_unmarked()? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn locked(directory: &Path, is_empty: bool) -> io::Result<Option<File>> {
    let path = directory.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(is_empty)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
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
    let mut content = Vec::new();
    (&file).take(MARKER.len() as u64 + 1).read_to_end(&mut content)?;
    if content.is_empty() && is_empty {
        file.write_all(MARKER)?;
    } else if content != MARKER {
        return Ok(None);
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbered_from_the_lowest_free() {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("native/default/p");
        let first = RunDirectory::acquire(&parent).unwrap();
        let second = RunDirectory::acquire(&parent).unwrap();
        assert_eq!((&first.path, &second.path), (&parent.join("0"), &parent.join("1")));
        first.remove(root.path()).unwrap();
        drop(first);
        let third = RunDirectory::acquire(&parent).unwrap();
        assert_eq!(third.path, parent.join("0"));
        second.remove(root.path()).unwrap();
        third.remove(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_that_was_removed_meanwhile_is_not_taken_for_the_slot() {
        let root = tempfile::tempdir().unwrap();
        let directory = RunDirectory::acquire(root.path()).unwrap();
        fs::remove_file(directory.path.join(LOCK)).unwrap();
        let other = RunDirectory::acquire(root.path()).unwrap();
        assert_eq!(other.path, directory.path);
        drop(directory);
        assert!(lock_existing(&other.path).unwrap().is_none());
    }

    #[test]
    fn what_no_run_has_made_is_neither_taken_nor_removed() {
        let root = tempfile::tempdir().unwrap();
        let namespace = root.path().join("native/default");
        let parent = namespace.join("p");
        let foreign = [("0", "tasks/file"), ("1", "lock"), ("2", "lock/file"), ("3", "file")];
        for (number, name) in foreign {
            let path = parent.join(number).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "the user's").unwrap();
        }
        fs::create_dir_all(parent.join("4")).unwrap();
        std::os::unix::fs::symlink("../0/tasks/file", parent.join("4/lock")).unwrap();
        fs::create_dir_all(parent.join("5")).unwrap();
        fs::write(parent.join("5/lock"), "").unwrap();
        fs::write(parent.join("5/thesis"), "the user's").unwrap();
        // Of a run that was killed before it could write the marker.
        fs::create_dir_all(parent.join("6")).unwrap();
        fs::write(parent.join("6/lock"), "").unwrap();

        assert_eq!(remove_leftovers(&namespace, root.path()), 0);
        let directory = RunDirectory::acquire(&parent).unwrap();
        assert_eq!(directory.path, parent.join("6"));
        fs::create_dir(directory.path.join("tasks")).unwrap();
        drop(directory);
        assert_eq!(remove_leftovers(&namespace, root.path()), 1);
        for (number, name) in foreign {
            assert_eq!(fs::read_to_string(parent.join(number).join(name)).unwrap(), "the user's");
        }
        assert!(parent.join("5/thesis").exists() && !parent.join("6").exists());
    }

    #[test]
    fn leftovers_are_removed_and_held_slots_stay() {
        let root = tempfile::tempdir().unwrap();
        let namespace = root.path().join("native/default");
        let held = RunDirectory::acquire(&namespace.join("p")).unwrap();
        let killed = RunDirectory::acquire(&namespace.join("p")).unwrap();
        fs::create_dir_all(killed.path.join("tasks/build/x")).unwrap();
        let path = killed.path.clone();
        drop(killed);
        let other = RunDirectory::acquire(&namespace.join("q")).unwrap().path;
        remove_leftovers(&namespace, root.path());
        assert!(held.path.exists() && !path.exists() && !other.exists());
    }
}
