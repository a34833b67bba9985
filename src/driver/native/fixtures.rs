//! Mount points and links, and the removal of those in directories that are not the driver's own.
//!
//! In a working directory of the user's, a mount point or a link is removed only if it is still the one that
//! the run has made.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, chownat, fstat, mkdirat, open, openat, symlinkat,
};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::user::Owner;
use crate::driver::{DriverError, NoticeSink};
use supervise::wire::Fixture;

/// What was put into other people's directories and has to go when no task uses it any more.
#[derive(Debug, Default)]
pub struct Fixtures {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    /// With what tells each from one that somebody has put in its place.
    directories: BTreeMap<PathBuf, Inode>,
    links: HashMap<PathBuf, Link>,
}

/// A device and a file on it.
type Inode = (u64, u64);

#[derive(Debug)]
struct Link {
    volume: PathBuf,
    /// How many tasks use it.
    users: usize,
}

/// How long a task waits for a mount point before the user is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks whether a mount point is free.
const LOOKS: Duration = Duration::from_millis(10);

/// What ends a wait for others, and who hears of it.
pub struct Wait<'a> {
    pub stop: &'a CancellationToken,
    pub notices: &'a NoticeSink,
}

/// One task's share of the fixtures.
#[derive(Debug, Default)]
pub struct Held {
    directories: Vec<(PathBuf, File)>,
    links: Vec<PathBuf>,
}

impl Fixtures {
    /// Makes a mount point at `path` below `base`, and keeps every run from removing it.
    ///
    /// Removing a directory takes away what another process has mounted there, in whatever
    /// namespace. So those who use it hold a shared lock, and who removes it needs it alone.
    pub fn point(
        &self,
        base: &Path,
        path: &Path,
        owner: Option<&Owner>,
        wait: &Wait<'_>,
        held: &mut Held,
    ) -> Result<(), DriverError> {
        let full = base.join(path);
        let failed = |source: io::Error| DriverError::Io {
            context: format!("cannot hold the mount point `{}`", full.display()),
            source,
        };
        loop {
            let mut new = Vec::new();
            let made = make_new_directories(base, path, owner, &mut new);
            self.made().directories.extend(new);
            made?;
            let file = match hold(&full, wait) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.map_err(failed)?,
            };
            // Another run may have removed it before the lock was there.
            let same = fs::symlink_metadata(&full).and_then(|found| {
                let held = file.metadata()?;
                Ok((found.dev(), found.ino()) == (held.dev(), held.ino()))
            });
            match same {
                Ok(true) => {
                    held.directories.push((full, file));
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Makes a link to a volume at `path` below `base`.
    pub fn link(
        &self,
        volume: &Path,
        base: &Path,
        path: &Path,
        owner: Option<&Owner>,
        held: &mut Held,
    ) -> Result<(), DriverError> {
        let full = base.join(path);
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let mut new = Vec::new();
        let parent = make_new_directories(base, parent, owner, &mut new);
        let mut made = self.made();
        made.directories.extend(new);
        let parent = parent?;
        match symlinkat(volume, &parent, name) {
            Ok(()) => {}
            // Another task of this run is using it.
            Err(Errno::EXIST)
                if made.links.contains_key(&full)
                    && fs::read_link(&full).is_ok_and(|to| to == volume) => {}
            Err(Errno::EXIST) => {
                return Err(DriverError::Refused(format!(
                    "mount path `{}`: there is something in the working directory `{}` already, \
                     and volumes are linked, not mounted; choose a path that is free",
                    path.display(),
                    base.display()
                )));
            }
            Err(error) => {
                return Err(DriverError::Io {
                    context: format!("cannot link a volume to `{}`", full.display()),
                    source: error.into(),
                });
            }
        }
        let new = || Link { volume: volume.to_owned(), users: 0 };
        made.links.entry(full.clone()).or_insert_with(new).users += 1;
        held.links.push(full);
        Ok(())
    }

    /// What a task uses of what was made here, for whoever removes it if this process cannot.
    pub fn of(&self, held: &Held) -> Vec<Fixture> {
        let made = self.made();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let directories = held.directories.iter().map(|(path, _)| path);
        let above = directories.chain(&held.links).flat_map(|path| path.ancestors());
        let own = above.filter_map(|path| Some((path, *made.directories.get(path)?)));
        let own: BTreeMap<&Path, Inode> = own.collect();
        let directories = own.into_iter().map(|(path, (device, inode))| Fixture::Directory {
            path: text(path),
            device,
            inode,
        });
        let links = held.links.iter().filter_map(|path| {
            let to = text(&made.links.get(path)?.volume);
            Some(Fixture::Link { path: text(path), to })
        });
        directories.chain(links).collect()
    }

    /// Removes what no other task uses.
    pub fn release(&self, held: Held) {
        let mut made = self.made();
        for link in held.links {
            let Some(known) = made.links.get_mut(&link) else { continue };
            known.users -= 1;
            if known.users == 0 {
                // A task may have replaced it, and then it is the task's.
                if fs::read_link(&link).is_ok_and(|to| to == known.volume) {
                    let _ = fs::remove_file(&link);
                }
                made.links.remove(&link);
                made.remove_upwards(link.parent());
            }
        }
        let paths: Vec<PathBuf> = held.directories.into_iter().map(|(path, _)| path).collect();
        for path in paths.iter().rev() {
            made.remove_upwards(Some(path));
        }
    }

    /// Removes what is left, when no task runs any more.
    pub fn release_all(&self) {
        let mut made = self.made();
        for (path, inode) in std::mem::take(&mut made.directories).iter().rev() {
            remove_unused(path, *inode);
        }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        // No holder can panic.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    /// Removes a directory and those above it, as far as they were made here and are empty.
    fn remove_upwards(&mut self, path: Option<&Path>) {
        for path in path.into_iter().flat_map(Path::ancestors) {
            let Some(inode) = self.directories.get(path) else { return };
            if !remove_unused(path, *inode) {
                return;
            }
            self.directories.remove(path);
        }
    }
}

/// Removes an empty directory that nobody holds, if it is still the one that was made. Returns whether it
/// is gone.
fn remove_unused(path: &Path, made: Inode) -> bool {
    match open_directory(path) {
        Ok(file) => {
            let is_same = file.metadata().is_ok_and(|found| (found.dev(), found.ino()) == made);
            is_same && file.try_lock().is_ok() && fs::remove_dir(path).is_ok()
        }
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Another run holds such a lock alone for no longer than it takes to remove a directory. Anybody else may
/// hold it for ever.
fn hold(path: &Path, wait: &Wait<'_>) -> io::Result<File> {
    let file = open_directory(path)?;
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        if wait.stop.is_cancelled() {
            return Err(io::Error::new(ErrorKind::Interrupted, "another process has locked it"));
        }
        if !is_told && begun.elapsed() >= PATIENCE {
            is_told = true;
            (wait.notices)(format!(
                "a task waits for the mount point `{}`, which another process has locked; look for it \
                 with `lslocks`",
                path.display()
            ));
        }
        std::thread::sleep(LOOKS);
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Makes the directories of `path` below `base` that are missing, following no link on the way.
pub fn make_directories(
    base: &Path,
    path: &Path,
    owner: Option<&Owner>,
) -> Result<(), DriverError> {
    make_new_directories(base, path, owner, &mut Vec::new()).map(drop)
}

/// The same. Returns the last one, and adds those that it has made to `new`, also before an error.
fn make_new_directories(
    base: &Path,
    path: &Path,
    owner: Option<&Owner>,
    new: &mut Vec<(PathBuf, Inode)>,
) -> Result<OwnedFd, DriverError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut full = base.to_owned();
    let failed = |path: &Path, error: Errno| DriverError::Io {
        context: format!("cannot make the directory `{}`", path.display()),
        source: error.into(),
    };
    let mut at = open(base, flags, Mode::empty()).map_err(|error| failed(base, error))?;
    for name in path {
        full.push(name);
        let mode = Mode::from_raw_mode(0o755);
        let is_new = match mkdirat(&at, name, mode) {
            Ok(()) => {
                if let Some(owner) = owner {
                    let (uid, gid) = owner.ids();
                    let (uid, gid) = (Uid::from_raw(uid.as_raw()), Gid::from_raw(gid.as_raw()));
                    chownat(&at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(|error| failed(&full, error))?;
                }
                true
            }
            Err(Errno::EXIST) => false,
            Err(error) => return Err(failed(&full, error)),
        };
        at = match openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(DriverError::Refused(format!(
                    "mount path `{}`: `{}` is a link or a file, and only directories can be on the \
                     way to a volume",
                    path.display(),
                    full.display()
                )));
            }
            opened => opened.map_err(|error| failed(&full, error))?,
        };
        if is_new {
            let found = fstat(&at).map_err(|error| failed(&full, error))?;
            new.push((full.clone(), (found.st_dev, found.st_ino)));
        }
    }
    Ok(at)
}
