//! Files that take the place of another one as a whole, or vanish.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::{
    SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, c_uint,
    sync_file_range,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::error::{io, is_absent};
use crate::error::StoreError;
use crate::progress::Progress;

/// What the name of a temporary file starts with; a random UUID follows.
const PREFIX: &str = ".ci-temp-";

/// How much the disk is made to take at once, in bytes: little enough that a slow disk takes it in less time
/// than a stall.
const PIECE: u64 = 8 << 20;

/// How much may wait for the disk, in bytes.
const WAITING: u64 = 8 * PIECE;

/// How long nobody has written to a temporary file that is taken for one of a killed process. A lock alone
/// proves nothing where machines share a file system and not its locks.
const ABANDONED: Duration = Duration::from_secs(6 * 3600);

/// A file that is removed again unless it is published. It is locked for as long as it is being written, if
/// its file system has locks.
pub struct Temporary {
    path: PathBuf,
    file: File,
    published: bool,
    written: u64,
    /// Up to where the disk was told to begin, and up to where it was waited for.
    begun: u64,
    done: u64,
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
                // Without locks nobody sweeps it either.
                Ok(()) | Err(TryLockError::Error(_)) if is_at(&file, &path) => {
                    let (written, begun, done) = (0, 0, 0);
                    return Ok(Self { path, file, published: false, written, begun, done });
                }
                // Another process swept it between its creation and its lock.
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Writes, and waits for the disk where it is slower than whoever writes. Each piece that is on the disk
    /// is a step.
    pub fn write(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(io(&self.path))?;
        self.written += bytes.len() as u64;
        while self.written - self.begun >= PIECE {
            self.flush(self.begun, SYNC_FILE_RANGE_WRITE)?;
            self.begun += PIECE;
            if self.begun - self.done > WAITING {
                self.wait(progress)?;
            }
        }
        Ok(())
    }

    /// Waits until all of it is on the disk.
    pub fn sync(&mut self, progress: &Progress) -> Result<(), StoreError> {
        while self.done < self.written {
            self.wait(progress)?;
        }
        self.file.sync_all().map_err(io(&self.path))?;
        progress.step();
        Ok(())
    }

    fn wait(&mut self, progress: &Progress) -> Result<(), StoreError> {
        let all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        self.flush(self.done, all)?;
        self.done += PIECE;
        progress.step();
        Ok(())
    }

    /// Has a piece of the file written to the disk. File systems that cannot do that write it when all of the
    /// file is synchronised.
    fn flush(&self, start: u64, flags: c_uint) -> Result<(), StoreError> {
        let (start, length) = (start.cast_signed(), PIECE.cast_signed());
        // SAFETY: the descriptor is open for as long as the file is borrowed, and the other arguments are numbers.
        let result = unsafe { sync_file_range(self.file.as_raw_fd(), start, length, flags) };
        match Errno::from_io_error(&std::io::Error::last_os_error()) {
            _ if result == 0 => Ok(()),
            Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::SPIPE) => Ok(()),
            Some(error) => Err(io(&self.path)(error.into())),
            None => Ok(()),
        }
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

/// Whether nobody has written to a temporary file for so long that nobody will.
pub fn is_abandoned(metadata: &fs::Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age >= ABANDONED)
}

/// Whether somebody holds a temporary file. `None` where files cannot be locked: nobody can tell.
pub fn is_held(path: &Path) -> Result<Option<bool>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(match file.try_lock() {
            Ok(()) => Some(false),
            Err(TryLockError::WouldBlock) => Some(true),
            Err(TryLockError::Error(_)) => None,
        }),
        Err(error) if is_absent(&error) => Ok(Some(true)),
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

    /// A disk that is slow is seen to go on.
    #[test]
    fn each_piece_that_is_on_the_disk_is_a_step() {
        let dir = tempfile::tempdir().unwrap();
        let progress = Progress::default();
        let mut file = Temporary::new(&dir.path().join("v.tar")).unwrap();
        let chunk = vec![1; 3 << 20];
        let mut written = 0;
        while written < WAITING + 5 * PIECE {
            file.write(&chunk, &progress).unwrap();
            written += chunk.len() as u64;
        }
        let before = progress.steps();
        assert!((1..=5).contains(&before), "{before}");
        file.sync(&progress).unwrap();
        assert_eq!(progress.steps(), written.div_ceil(PIECE) + 1);
        file.publish(&dir.path().join("v.tar")).unwrap();
        assert_eq!(fs::metadata(dir.path().join("v.tar")).unwrap().len(), written);
    }

    #[test]
    fn what_appears_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v.tar");
        fs::write(&target, "of somebody else").unwrap();
        let mut file = Temporary::new(&target).unwrap();
        assert!(!file.publish_new(&target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"of somebody else");
        fs::remove_file(&target).unwrap();
        assert!(file.publish_new(&target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"");
    }

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
