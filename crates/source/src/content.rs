//! The copy of one file, whole and as it was at one moment.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{SeekFrom, copy_file_range, fstat, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, read, write};

use super::error::{SourceError, shown};
use super::handle::open_file;
use super::listing::{Entry, Stamp};
use super::progress::Progress;

/// How often a file that changes is read.
pub const ATTEMPTS: u32 = 8;

/// The pause before the second attempt. It doubles each time.
const PAUSE: Duration = Duration::from_millis(2);

/// Two changes within this time may leave the same time stamp: kernels before Linux 6.13 tell the time by a
/// clock that ticks each ten milliseconds or more often.
pub const TICK: Duration = Duration::from_millis(20);

/// No call that writes takes longer than this.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Files up to this size are read with one call.
const SMALL: u64 = 128 * 1024;

/// Most bytes that are copied by one call, so that a stop is noticed soon.
const STEP: usize = 8 << 20;

/// Why content could not be copied.
pub enum Failure {
    Read(Errno),
    Write(Errno),
    /// The file ended before its size.
    Shorter,
    Cancelled,
}

/// What file systems of one import can do, found out by the first file.
#[derive(Debug)]
pub struct Abilities {
    clone: AtomicBool,
    copy: AtomicBool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { clone: AtomicBool::new(true), copy: AtomicBool::new(true) }
    }
}

/// Reads a file until nothing has changed it meanwhile. `consume` is called with the file and what it was
/// before, more than once if it has to be.
///
/// Returns what the file was, and `None` if it is gone.
pub fn settled<T>(
    directory: BorrowedFd<'_>,
    entry: &Entry,
    path: &Path,
    mut consume: impl FnMut(&OwnedFd, &Stamp) -> Result<T, Failure>,
) -> Result<Option<(Stamp, T)>, SourceError> {
    let mut before = entry.stamp;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE * 2_u32.pow(attempt - 1));
        }
        let file = match open_file(directory, &*entry.name) {
            Ok(file) => file,
            // Something that is no file has taken its place.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(SourceError::read(path, errno)),
        };
        let stamp = || fstat(&file).map(|stat| Stamp::of(&stat));
        if attempt > 0 {
            before = stamp().map_err(|errno| SourceError::read(path, errno))?;
            if !before.file_type().is_file() {
                return Ok(None);
            }
        }
        wait_for_writers(&file, &before).map_err(|errno| SourceError::read(path, errno))?;
        let consumed = match consume(&file, &before) {
            Ok(consumed) => Some(consumed),
            Err(Failure::Shorter) => None,
            Err(Failure::Read(errno)) => return Err(SourceError::read(path, errno)),
            Err(Failure::Write(errno)) => return Err(SourceError::write(path, errno)),
            Err(Failure::Cancelled) => return Err(SourceError::Cancelled),
        };
        let after = stamp().map_err(|errno| SourceError::read(path, errno))?;
        if let Some(consumed) = consumed.filter(|_| before.is_same_content(&after)) {
            return Ok(Some((before, consumed)));
        }
    }
    Err(SourceError::Changed { path: shown(path), attempts: ATTEMPTS })
}

/// Waits until a change of the file would get another time than its last one, and until the call that has made
/// that one is over: a time is set when a call begins to write.
///
/// Looking for data takes the lock that calls hold while they write on ext4, btrfs and tmpfs. On XFS a call that
/// reads does.
fn wait_for_writers(file: &OwnedFd, stamp: &Stamp) -> Result<(), Errno> {
    let Ok(seconds) = u64::try_from(stamp.changed.0) else { return Ok(()) };
    let changed = UNIX_EPOCH + Duration::new(seconds, stamp.changed.1);
    // A time in the future tells nothing about the clock.
    let Ok(passed) = SystemTime::now().duration_since(changed) else { return Ok(()) };
    if passed > LONGEST_WRITE {
        return Ok(());
    }
    if let Some(rest) = TICK.checked_sub(passed) {
        std::thread::sleep(rest);
    }
    // Where there is no data, or nobody tells, the lock was taken or does not matter.
    let _ = seek(file, SeekFrom::Data(0));
    seek(file, SeekFrom::Start(0)).map(drop)
}

/// Copies content with what the file systems can do.
pub struct Copier<'a> {
    pub abilities: &'a Abilities,
    pub progress: &'a Progress,
    pub buffer: Vec<u8>,
}

impl<'a> Copier<'a> {
    pub fn new(abilities: &'a Abilities, progress: &'a Progress) -> Self {
        // One more than a small file has, to see that it has no more.
        let buffer = vec![0; usize::try_from(SMALL).unwrap_or(0) + 1];
        Self { abilities, progress, buffer }
    }

    /// Fills an empty file with the content of another. Returns how many bytes that were.
    pub fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, stamp: &Stamp) -> Result<u64, Failure> {
        let size = stamp.size;
        if size > 0 && stamp.blocks.saturating_mul(512) < size {
            return self.sparse(from, to, size);
        }
        if size <= SMALL {
            return self.small(from, to, size);
        }
        if self.abilities.clone.load(Ordering::Relaxed) {
            match ioctl_ficlone(to, from) {
                Ok(()) => return Ok(size),
                Err(_) => self.abilities.clone.store(false, Ordering::Relaxed),
            }
        }
        self.range(from, to, 0, size)?;
        Ok(size)
    }

    fn small(&mut self, from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<u64, Failure> {
        if size == 0 {
            return Ok(0);
        }
        let expected = usize::try_from(size).map_err(|_| Failure::Read(Errno::FBIG))?;
        let mut filled = 0;
        while filled < expected {
            let read = read(from, &mut self.buffer[filled..]);
            match read.map_err(Failure::Read)? {
                0 => return Err(Failure::Shorter),
                count => filled += count,
            }
        }
        // What was added meanwhile shows in the file's size afterwards.
        write_all(to, &self.buffer[..expected])?;
        Ok(size)
    }

    /// Copies the parts that hold data, and leaves the rest a hole.
    fn sparse(&mut self, from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<u64, Failure> {
        let mut position = 0;
        let mut copied = 0;
        while position < size {
            let start = match seek(from, SeekFrom::Data(position)) {
                Ok(start) => start.min(size),
                // Nothing but a hole until the end.
                Err(Errno::NXIO) => break,
                // The file system does not tell.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => position,
                Err(errno) => return Err(Failure::Read(errno)),
            };
            let end = match seek(from, SeekFrom::Hole(start)) {
                Ok(end) => end.min(size),
                Err(Errno::INVAL | Errno::OPNOTSUPP) => size,
                // The file has become shorter.
                Err(Errno::NXIO) => break,
                Err(errno) => return Err(Failure::Read(errno)),
            };
            self.range(from, to, start, end)?;
            copied += end - start;
            position = end.max(start + 1);
        }
        ftruncate(to, size).map_err(Failure::Write)?;
        Ok(copied)
    }

    /// Copies the bytes from `start` to `end` to the same place.
    fn range(&mut self, from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Failure> {
        let mut position = start;
        while position < end && self.abilities.copy.load(Ordering::Relaxed) {
            self.check()?;
            let length = usize::try_from(end - position).unwrap_or(STEP).min(STEP);
            let (mut at, mut to_at) = (position, position);
            match copy_file_range(from, Some(&mut at), to, Some(&mut to_at), length) {
                Ok(0) => return Err(Failure::Shorter),
                Ok(count) => position += count as u64,
                Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                    return Err(Failure::Write(errno));
                }
                Err(Errno::INTR) => {}
                Err(errno @ Errno::IO) => return Err(Failure::Read(errno)),
                // These file systems have it not, or not between each other.
                Err(_) => self.abilities.copy.store(false, Ordering::Relaxed),
            }
        }
        if position < end {
            seek(from, SeekFrom::Start(position)).map_err(Failure::Read)?;
            seek(to, SeekFrom::Start(position)).map_err(Failure::Write)?;
        }
        while position < end {
            self.check()?;
            let most = self.buffer.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
            match read(from, &mut self.buffer[..most]).map_err(Failure::Read)? {
                0 => return Err(Failure::Shorter),
                count => {
                    write_all(to, &self.buffer[..count])?;
                    position += count as u64;
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        if self.progress.is_cancelled() { Err(Failure::Cancelled) } else { Ok(()) }
    }
}

fn write_all(to: impl AsFd, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match write(&to, bytes) {
            Ok(0) => return Err(Failure::Write(Errno::IO)),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::Write(errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io::Write;

    use rustix::fs::{AtFlags, statat};

    use super::super::handle::open_root;
    use super::super::listing::Kind;
    use super::*;

    /// Reads a file to which something is appended each of the first `changes` times.
    fn read_while_changing(changes: u32) -> (Result<u64, String>, u32) {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("a.log"), "line\n").unwrap();
        let directory = open_root(top.path()).unwrap();
        let stamp = Stamp::of(&statat(&directory, "a.log", AtFlags::empty()).unwrap());
        let entry = Entry { name: "a.log".into(), kind: Kind::File, stamp };
        let times = Cell::new(0);
        let read = settled(directory.as_fd(), &entry, Path::new("a.log"), |_, stamp| {
            times.set(times.get() + 1);
            if times.get() <= changes {
                let mut file =
                    fs::File::options().append(true).open(top.path().join("a.log")).unwrap();
                file.write_all(b"line\n").unwrap();
            }
            Ok(stamp.size)
        });
        (read.map(|read| read.unwrap().1).map_err(|error| error.to_string()), times.get())
    }

    #[test]
    fn a_file_is_read_until_it_stands_still() {
        assert_eq!(read_while_changing(0), (Ok(5), 1));
        assert_eq!(read_while_changing(3), (Ok(20), 4));
    }

    #[test]
    fn a_file_that_never_stands_still_is_named() {
        let expected = "`a.log` changed each of the 8 times that it was read, stop what writes to it or leave \
                        it out with `exclude` or in `.ciignore`";
        assert_eq!(read_while_changing(u32::MAX), (Err(expected.to_owned()), ATTEMPTS));
    }
}
