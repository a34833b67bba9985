//! Files that take the place of another one as a whole, or vanish.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::StoreError;
use super::{io, is_absent};

/// What the name of a temporary file starts with; a random UUID follows.
const PREFIX: &str = ".ci-temp-";

/// A file that is removed again unless it is published. It is locked for as long as it is being written.
pub struct Temporary {
    path: PathBuf,
    pub file: File,
    published: bool,
}

impl Temporary {
    /// In the directory of what it is to replace.
    pub fn new(target: &Path) -> Result<Self, StoreError> {
        loop {
            let path = target.with_file_name(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&path)
                .map_err(io(&path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, file, published: false }),
                // Another process swept it between its creation and its lock.
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(io(&path)(error)),
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(io(&self.path))
    }

    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(io(&self.path))
    }

    pub fn metadata(&self) -> Result<fs::Metadata, StoreError> {
        self.file.metadata().map_err(io(&self.path))
    }

    pub fn publish(&mut self, target: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, target).map_err(io(target))?;
        self.published = true;
        Ok(())
    }

    /// The same where nothing is; returns false if there is something by now. Some file systems of networks
    /// cannot tell, and replace it.
    pub fn publish_new(&mut self, target: &Path) -> Result<bool, StoreError> {
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => self.published = true,
            Err(Errno::EXIST) => return Ok(false),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.publish(target)?,
            Err(error) => return Err(io(target)(error.into())),
        }
        Ok(true)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is swept by another run.
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a file of this name is one of [`Temporary`]: the whole name is a prefix and a random UUID, which
/// no other program and no person gives a file by chance.
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        let parsed = uuid::Uuid::parse_str(rest);
        parsed.is_ok_and(|uuid| uuid.get_version_num() == 4 && uuid.to_string() == rest)
    })
}

/// Whether somebody holds a temporary file.
pub fn is_held(path: &Path) -> Result<bool, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(file.try_lock().is_err()),
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) => Err(io(path)(error)),
    }
}

/// Removes a temporary file unless somebody holds it, and returns whether it did.
pub fn remove_unheld(path: &Path) -> Result<bool, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(io(path)(error)),
    };
    // Where files cannot be locked, nobody can tell whether it is held.
    if file.try_lock().is_err() || !is_at(&file, path) {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(io(path)(error)),
    }
}

/// Whether an open file is still what its path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_random_uuid_makes_a_temporary_file() {
        let uuid = uuid::Uuid::new_v4();
        assert!(is_temporary(&format!("{PREFIX}{uuid}")));
        for name in [
            ".ci-temp-".to_owned(),
            ".ci-temp-notes.docx".to_owned(),
            format!(".ci-temp-{uuid}.tar"),
            format!(".ci-temp-{}", uuid.simple()),
            format!(".ci-temp-{}", uuid.to_string().to_uppercase()),
            ".ci-temp-00000000-0000-0000-0000-000000000000".to_owned(),
        ] {
            assert!(!is_temporary(&name), "{name}");
        }
    }
}
