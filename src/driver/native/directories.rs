//! The directories in a run directory: one for each task, one for each volume.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{getegid, geteuid};

use super::user::Owner;
use crate::driver::name;
use crate::volume::VolumeName;
use files::remove::{make_writable, remove};

/// ```text
/// tasks/<name>     the directory of a task
/// work             where tasks see their directories
/// tmp/<name>       its TMPDIR
/// secrets          where tasks have their secrets in memory
/// volumes/<name>
/// trash/<number>   what is being removed
/// ```
#[derive(Debug)]
pub struct Directories {
    root: PathBuf,
    /// Which instances of a task's name are in use.
    taken: Mutex<HashMap<String, Vec<bool>>>,
    /// Empty directories of tasks that have ended, for the next ones: to make a directory and
    /// remove it again takes a file system with a journal twenty times as long as to rename one.
    spare_work: Mutex<BTreeSet<PathBuf>>,
    spare_tmp: Mutex<BTreeSet<PathBuf>>,
    trashed: AtomicU64,
    /// How many directories wait in the trash.
    waiting: AtomicU64,
    /// Held while the trash is being emptied.
    sweeping: Mutex<()>,
    /// Whose tasks may pass through it.
    admitted: Mutex<Admitted>,
}

#[derive(Debug, Default)]
enum Admitted {
    #[default]
    Nobody,
    Group(u32),
    Everybody,
}

const TASKS: &str = "tasks";
const WORK: &str = "work";
const TMP: &str = "tmp";
const SECRETS: &str = "secrets";
const VOLUMES: &str = "volumes";
const TRASH: &str = "trash";

impl Directories {
    /// Lays out a run directory. What a killed run left there goes to the trash.
    pub fn new(root: &Path) -> io::Result<Arc<Self>> {
        let this = Self {
            root: root.into(),
            taken: Mutex::default(),
            spare_work: Mutex::default(),
            spare_tmp: Mutex::default(),
            trashed: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            sweeping: Mutex::default(),
            admitted: Mutex::default(),
        };
        let trash = root.join(TRASH);
        match DirBuilder::new().mode(0o700).create(&trash) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // The numbers in use there are unknown.
                let old = root.join(format!("{TRASH}.old"));
                remove(&old)?;
                fs::rename(&trash, &old)?;
                DirBuilder::new().mode(0o700).create(&trash)?;
                this.discard(&old)?;
            }
            Err(error) => return Err(error),
        }
        for name in [TASKS, WORK, TMP, SECRETS, VOLUMES] {
            let path = root.join(name);
            this.discard(&path)?;
            DirBuilder::new().mode(0o755).create(path)?;
        }
        Ok(Arc::new(this))
    }

    /// Takes the first directory name that no running task has, for a task of this name.
    pub fn lease(self: &Arc<Self>, task: &str) -> Lease {
        let encoded = name::encoded(task);
        let mut taken = lock(&self.taken);
        let instances = taken.entry(encoded.clone()).or_default();
        let index = instances.iter().position(|taken| !taken).unwrap_or(instances.len());
        match instances.get_mut(index) {
            Some(taken) => *taken = true,
            None => instances.push(true),
        }
        drop(taken);
        let name = name::instance(&encoded, index);
        Lease {
            work: self.root.join(TASKS).join(&name),
            tmp: self.root.join(TMP).join(&name),
            directories: self.clone(),
            encoded,
            index,
        }
    }

    /// Lets a task of another user reach its directories and volumes. The run directory is closed to everybody
    /// else, as far as a group can say that.
    pub fn admit(&self, owner: &Owner) -> io::Result<()> {
        let group = owner.ids().1.as_raw();
        let mut admitted = lock(&self.admitted);
        match *admitted {
            Admitted::Everybody => {}
            Admitted::Group(other) if other == group => {}
            Admitted::Nobody => {
                chown(&self.root, None, Some(group))?;
                fs::set_permissions(&self.root, Permissions::from_mode(0o710))?;
                *admitted = Admitted::Group(group);
            }
            Admitted::Group(_) => {
                fs::set_permissions(&self.root, Permissions::from_mode(0o711))?;
                *admitted = Admitted::Everybody;
            }
        }
        Ok(())
    }

    /// Where every task with mounts sees its directory, in a mount namespace of its own. Empty outside.
    pub fn common_work(&self) -> PathBuf {
        self.root.join(WORK)
    }

    /// Where a task's secrets are mounted, in a mount namespace of its own. Empty outside.
    pub fn secrets(&self) -> PathBuf {
        self.root.join(SECRETS)
    }

    pub fn volume(&self, name: &VolumeName) -> PathBuf {
        self.root.join(VOLUMES).join(name::encoded(name.as_str()))
    }

    /// Where a volume's content is built before it appears as a whole. No name is encoded as one that
    /// starts with a dot.
    pub fn staging(&self, name: &VolumeName) -> PathBuf {
        self.root.join(VOLUMES).join(format!(".{}", name::encoded(name.as_str())))
    }

    /// Clears a path at once: what is not empty waits in the trash for [`sweep`](Self::sweep).
    fn discard(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A task put something else in its place.
            Err(error) if error.kind() == ErrorKind::NotADirectory => return remove(path),
            Err(_) => {}
        }
        let number = self.trashed.fetch_add(1, Ordering::Relaxed);
        let to = self.root.join(TRASH).join(number.to_string());
        let moved = match fs::rename(path, &to) {
            // A directory can only be moved by whom it lets write.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                permit(path).and_then(|()| fs::rename(path, &to))
            }
            moved => moved,
        };
        match moved {
            Ok(()) => {
                self.waiting.fetch_add(1, Ordering::Release);
                Ok(())
            }
            // A mount point, for example, has to be removed where it is.
            Err(_) => remove(path),
        }
    }

    /// Whether [`sweep`](Self::sweep) has something to do.
    pub fn needs_sweep(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Removes what is in the trash. Takes as long as that takes, unless somebody else does it.
    ///
    /// What cannot be removed stays for the end of the run, which reports it.
    pub fn sweep(&self) {
        while self.needs_sweep() {
            // Whoever holds it looks again afterwards.
            let Ok(_sweeping) = self.sweeping.try_lock() else { return };
            self.waiting.store(0, Ordering::Release);
            for entry in fs::read_dir(self.root.join(TRASH)).into_iter().flatten().flatten() {
                let _ = remove(&entry.path());
            }
        }
    }
}

/// A task's directories, its own for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    pub work: PathBuf,
    pub tmp: PathBuf,
    directories: Arc<Directories>,
    encoded: String,
    index: usize,
}

impl Lease {
    /// Makes the directory for temporary files, and an empty working directory if the task starts
    /// there.
    pub fn make(&self, with_work: bool, owner: Option<&Owner>) -> io::Result<()> {
        let directories = &self.directories;
        if with_work {
            make(directories, &directories.spare_work, &self.work, WORK_MODE, owner)?;
        }
        make(directories, &directories.spare_tmp, &self.tmp, TMP_MODE, owner)
    }

    /// Clears both directories, when nothing uses them any more.
    pub fn clear(&self, with_work: bool) -> io::Result<()> {
        let directories = &self.directories;
        let work = match with_work {
            true => clear(directories, &directories.spare_work, &self.work, WORK_MODE),
            false => Ok(()),
        };
        work.and(clear(directories, &directories.spare_tmp, &self.tmp, TMP_MODE))
    }
}

const WORK_MODE: u32 = 0o755;
const TMP_MODE: u32 = 0o700;

fn make(
    directories: &Directories,
    spare: &Mutex<BTreeSet<PathBuf>>,
    path: &Path,
    mode: u32,
    owner: Option<&Owner>,
) -> io::Result<()> {
    let moved = {
        let mut spare = lock(spare);
        match spare.take(path).or_else(|| spare.pop_first()) {
            // Not after the lock is released: until it has been moved, the task that it is named after
            // may find it in its way, make it anew, and lose that to the move.
            Some(found) => found == path || fs::rename(found, path).is_ok(),
            None => false,
        }
    };
    if !(moved && is_new(path, mode)) {
        let mut directory = DirBuilder::new();
        directory.mode(mode);
        match directory.create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                directories.discard(path)?;
                directory.create(path)?;
            }
            result => result?,
        }
    }
    match owner {
        Some(owner) => owner.take(path),
        None => Ok(()),
    }
}

fn clear(
    directories: &Directories,
    spare: &Mutex<BTreeSet<PathBuf>>,
    path: &Path,
    mode: u32,
) -> io::Result<()> {
    if is_new(path, mode) {
        lock(spare).insert(path.to_owned());
        return Ok(());
    }
    directories.discard(path)
}

/// Whether this is an empty directory as this process makes them.
fn is_new(path: &Path, mode: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| {
        // The process's own mask may have taken some away.
        let permitted = found.mode() & 0o7777;
        found.is_dir()
            && permitted & !mode == 0
            && permitted & 0o700 == 0o700
            && (found.uid(), found.gid()) == (geteuid().as_raw(), getegid().as_raw())
    }) && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut taken = lock(&self.directories.taken);
        let Some(instances) = taken.get_mut(&self.encoded) else { return };
        if let Some(taken) = instances.get_mut(self.index) {
            *taken = false;
        }
        if !instances.contains(&true) {
            taken.remove(&self.encoded);
        }
    }
}

fn permit(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = fs::File::open(parent)?;
    Ok(make_writable(parent.as_fd(), name)?)
}

/// No holder of these locks can panic, and their content is valid at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_use_gets_a_number_and_the_lowest_free_one_is_next() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories::new(root.path()).unwrap();
        let name = |lease: &Lease| lease.work.file_name().unwrap().to_owned();
        let first = directories.lease("a");
        let second = directories.lease("a");
        let third = directories.lease("a");
        assert_eq!([&first, &second, &third].map(name), ["a", "a.2", "a.3"]);
        drop(second);
        assert_eq!(name(&directories.lease("a")), "a.2");
        drop((first, third));
        assert_eq!(name(&directories.lease("a")), "a");
        assert!(lock(&directories.taken).is_empty());
    }

    #[test]
    fn directories_are_used_again_if_they_are_as_new() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories::new(root.path()).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let first = directories.lease("a");
        first.make(true, None).unwrap();
        let (work, tmp) = (inode(&first.work), inode(&first.tmp));
        first.clear(true).unwrap();
        let second = directories.lease("b");
        second.make(true, None).unwrap();
        assert_eq!((inode(&second.work), inode(&second.tmp)), (work, tmp));
        assert!(!first.work.exists() && !first.tmp.exists());

        let changes: [fn(&Path); 3] = [
            |path| fs::write(path.join("file"), "").unwrap(),
            |path| fs::set_permissions(path, PermissionsExt::from_mode(0o1777)).unwrap(),
            |path| {
                fs::remove_dir(path).unwrap();
                std::os::unix::fs::symlink("/", path).unwrap();
            },
        ];
        for change in changes {
            // Whether the task itself made the change or somebody else after it.
            for after in [false, true] {
                if !after {
                    change(&second.work);
                }
                second.clear(true).unwrap();
                if after {
                    change(&second.work);
                }
                second.make(true, None).unwrap();
                assert!(is_new(&second.work, WORK_MODE) && is_new(&second.tmp, TMP_MODE));
            }
        }
    }

    #[test]
    fn what_a_killed_run_left_is_gone() {
        let root = tempfile::tempdir().unwrap();
        for path in ["tasks/a/b", "tmp/a", "volumes/v/w", "trash/0/x", "trash.old/1"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let directories = Directories::new(root.path()).unwrap();
        for name in [TASKS, TMP, VOLUMES] {
            assert_eq!(fs::read_dir(root.path().join(name)).unwrap().count(), 0, "{name}");
        }
        assert!(directories.needs_sweep());
        directories.sweep();
        assert_eq!(fs::read_dir(root.path().join(TRASH)).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 6);
    }
}
