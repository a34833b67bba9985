//! The copy of the project that the last run has left, brought up to date instead of made again.
//!
//! Each project, and each part of it that pipelines ask for, has a place in the state directory. A run that
//! asks for the files takes that place, with a lock that it holds to its end, brings the tree in it up to date and
//! moves it to where its volume is. At the end of the run the tree moves back, after it was brought up to date
//! again: what tasks have written does not outlive the run. Runs that find the place taken copy the project as a
//! whole, and so does one that cannot move a directory from here to there, since they are on different file systems.
//!
//! What takes longer to bring up to date at the end than it took at the start is dropped instead.
//!
//! A run that is interrupted or killed leaves no tree, which its driver or the next run removes with the rest. Trees
//! that nobody has used for [`KEPT_FOR`] are removed, and the oldest where all have more than [`MOST_BYTES`].

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use files::remove::remove;
use files::trust;
use nix::libc;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use source::{
    Again, Imported, Kept, Options, Progress, Project, Selection, SourceError, import,
    import_again, import_indexed,
};

use crate::process::state;

/// Where the trees are, in the state directory.
const PROJECTS: &str = "projects";
const LOCK: &str = "lock";

/// What a lock file begins with. A directory without it is none of ours, whatever its name.
const MARKER: &str = "This directory belongs to `ci`, which removes all of it.\n";

const INDEX: &str = "index";
const TREE: &str = "tree";
const TRASH: &str = "trash";

/// How long a tree is kept that nobody uses.
const KEPT_FOR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long it may always take to get a tree back.
const LEAST_WORTH: Duration = Duration::from_secs(1);

/// The most bytes of all trees together.
const MOST_BYTES: u64 = 8 << 30;

/// A tree of files, and what says which ones to take.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub project: Project,
    pub selection: Selection,
    pub options: Options,
}

/// A tree that is a volume until the run ends.
#[derive(Debug)]
pub struct Lent {
    place: Place,
    wanted: Wanted,
    /// Where the volume is.
    volume: PathBuf,
    /// How long it took to fill it.
    took: Duration,
}

/// A place for a tree, which is ours for as long as this lives.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    lock: File,
}

/// Fills the empty directory of a volume with files of a project, by way of the tree that was kept if there is one.
/// What is lent is [taken back](Lent::take_back) at the end of the run.
pub fn fill(
    wanted: &Wanted,
    volume: &Path,
    progress: &Progress,
) -> Result<(Imported, Option<Lent>), SourceError> {
    let Wanted { project, selection, options } = wanted;
    let begun = Instant::now();
    if let Some(place) = Place::of(wanted, volume) {
        let imported = place.up_to_date(wanted, volume, progress)?;
        if let Some(imported) = imported {
            // The directory of the volume is empty, and gives its place.
            if fs::rename(place.tree(), volume).is_ok() {
                let (wanted, volume) = (wanted.clone(), volume.to_owned());
                let took = begun.elapsed();
                return Ok((imported, Some(Lent { place, wanted, volume, took })));
            }
            place.empty();
        }
    }
    Ok((import(project, selection, options, volume, progress)?, None))
}

impl Lent {
    /// How long it may take to get the tree back.
    pub fn worth(&self) -> Duration {
        self.took.max(LEAST_WORTH)
    }

    /// Moves the tree back, without what tasks have made of it. Whatever goes wrong, the volume is still the driver's to
    /// remove then.
    pub fn take_back(self, progress: &Progress) {
        let Self { place, wanted, volume, .. } = self;
        let Some(imported) = place.again(&volume, &wanted, progress).ok().flatten() else {
            return place.empty();
        };
        let tree = place.tree();
        let moved = imported.size <= MOST_BYTES
            && renameat_with(CWD, &volume, CWD, &tree, RenameFlags::NOREPLACE).is_ok();
        if !moved || place.note(imported.size).is_err() {
            return place.empty();
        }
        remove_old(&place.path, imported.size);
    }
}

impl Place {
    /// The place of these files, if it is free and on the file system of the volume.
    fn of(wanted: &Wanted, volume: &Path) -> Option<Self> {
        let all = state::directory().join(PROJECTS);
        let Wanted { project, selection, .. } = wanted;
        let Selection { path, include, exclude, ignored, git } = selection;
        let named = format!("{path:?} {include:?} {exclude:?} {ignored} {git}");
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(project.root().as_os_str().as_encoded_bytes())
            .update(b"\0")
            .update(named.as_bytes());
        let path = all.join(&hasher.finalize().to_hex()[..32]);
        trust::make(&path).ok()?;
        // A link in its place would lead to somebody's own directory.
        if !fs::symlink_metadata(&path).ok()?.is_dir() {
            return None;
        }
        // Also one whose run was killed before it could mark it.
        let is_new = fs::read_dir(&path).ok()?.flatten().all(|entry| entry.file_name() == LOCK);
        let volume = fs::metadata(volume).ok()?;
        if fs::metadata(&path).ok()?.dev() != volume.dev() {
            return None;
        }
        // The files of a project may be nobody else's to read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).ok()?;
        if is_new {
            mark(&path).ok()?;
        }
        Self::open(&path)
    }

    /// A place that no run holds. What is not marked as one is none.
    fn open(path: &Path) -> Option<Self> {
        let lock = lock_options().open(path.join(LOCK)).ok()?;
        let place = Self::locked(path.to_owned(), lock)?;
        place.text().ok()?.starts_with(MARKER).then_some(place)
    }

    /// `None` if a run holds it, or has removed it since.
    fn locked(path: PathBuf, lock: File) -> Option<Self> {
        lock.try_lock().ok()?;
        let (held, there) = (lock.metadata().ok()?, fs::symlink_metadata(path.join(LOCK)).ok()?);
        let is_same = (held.dev(), held.ino()) == (there.dev(), there.ino());
        (held.is_file() && is_same).then_some(Self { path, lock })
    }

    fn tree(&self) -> PathBuf {
        self.path.join(TREE)
    }

    /// Makes the tree what the project is now. `None` if there can be none here.
    fn up_to_date(
        &self,
        wanted: &Wanted,
        volume: &Path,
        progress: &Progress,
    ) -> Result<Option<Imported>, SourceError> {
        let tree = self.tree();
        if tree.exists()
            && let Some(imported) = self.again(&tree, wanted, progress)?
        {
            return Ok(Some(imported));
        }
        self.empty();
        if like(volume, &tree).is_err() {
            return Ok(None);
        }
        let Wanted { project, selection, options } = wanted;
        let imported =
            import_indexed(project, selection, options, &tree, &self.path.join(INDEX), progress);
        // A part of a project is of no use to anybody.
        imported.inspect_err(|_| self.empty()).map(Some)
    }

    /// Brings a tree up to date, here or where it is lent to. `None` if it is of no use any more.
    fn again(
        &self,
        tree: &Path,
        wanted: &Wanted,
        progress: &Progress,
    ) -> Result<Option<Imported>, SourceError> {
        let (index, trash) = (self.path.join(INDEX), self.path.join(TRASH));
        if !trash.exists() && fs::create_dir(&trash).is_err() {
            return Ok(None);
        }
        let kept = Kept { tree, index: &index, trash: &trash };
        let Wanted { project, selection, options } = wanted;
        let again = import_again(project, selection, options, &kept, progress);
        _ = remove(&trash);
        match again? {
            Again::Imported(imported) => Ok(Some(imported)),
            Again::Unusable { reason } => {
                tracing::debug!(%reason, tree = %tree.display(), "the kept copy of the project is of no use");
                Ok(None)
            }
        }
    }

    /// Removes what is here but the lock, which then tells of no tree.
    fn empty(&self) {
        _ = self.lock.set_len(MARKER.len() as u64);
        for name in [INDEX, TREE, TRASH] {
            _ = remove(&self.path.join(name));
        }
    }

    /// Notes the size of the tree, and that it was used now.
    fn note(&self, bytes: u64) -> io::Result<()> {
        let end = MARKER.len() as u64;
        self.lock.set_len(end)?;
        self.lock.write_all_at(format!("{bytes}\n").as_bytes(), end)?;
        self.lock.set_times(FileTimes::new().set_modified(SystemTime::now()))
    }

    /// The text of the lock file.
    fn text(&self) -> io::Result<String> {
        let mut text = [0; MARKER.len() + 32];
        let read = self.lock.read_at(&mut text, 0)?;
        Ok(String::from_utf8_lossy(&text[..read]).into_owned())
    }

    /// The size of the tree in bytes, and when it was used last.
    fn noted(&self) -> io::Result<(u64, SystemTime)> {
        let text = self.text()?;
        let bytes = text.strip_prefix(MARKER).and_then(|text| text.trim().parse().ok());
        Ok((bytes.unwrap_or(0), self.lock.metadata()?.modified()?))
    }

    /// Removes all of it.
    fn remove(self) -> bool {
        self.empty();
        fs::remove_file(self.path.join(LOCK)).and_then(|()| fs::remove_dir(&self.path)).is_ok()
    }
}

/// Marks a directory that has nothing but perhaps an empty lock file.
fn mark(path: &Path) -> io::Result<()> {
    let lock = lock_options().create(true).open(path.join(LOCK))?;
    lock.try_lock()?;
    match lock.metadata()?.len() {
        0 => lock.write_all_at(MARKER.as_bytes(), 0),
        _ => Ok(()),
    }
}

fn lock_options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// A new directory with the mode and the owner of another one.
fn like(model: &Path, path: &Path) -> io::Result<()> {
    let found = fs::metadata(model)?;
    fs::create_dir(path)?;
    chown(path, Some(found.uid()), Some(found.gid()))?;
    fs::set_permissions(path, found.permissions())
}

/// Removes every tree that no run uses, and returns how many these were.
pub fn prune() -> usize {
    places().filter_map(|path| open(&path)).filter_map(|place| place.remove().then_some(())).count()
}

/// Removes trees that nobody has used for long, and the oldest where all of them are too large.
/// `own` is the place that was used now, with a tree of so many bytes.
fn remove_old(own: &Path, bytes: u64) {
    let places = places().filter(|path| path != own).filter_map(|path| open(&path));
    let mut found: Vec<(SystemTime, u64, Place)> = places
        .filter_map(|place| place.noted().ok().map(|(bytes, used)| (used, bytes, place)))
        .collect();
    found.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
    let mut all = bytes;
    for (used, bytes, place) in found {
        all += bytes;
        let is_old = used.elapsed().is_ok_and(|age| age > KEPT_FOR);
        if is_old || all > MOST_BYTES {
            place.remove();
        }
    }
}

/// What may be places.
fn places() -> impl Iterator<Item = PathBuf> {
    let all = state::directory().join(PROJECTS);
    let is_ours = trust::exists(&all).unwrap_or(false);
    let entries = is_ours.then(|| fs::read_dir(all).ok()).flatten();
    entries.into_iter().flatten().flatten().map(|entry| entry.path())
}

/// A place that no run holds. What has another name, or is a link, is none.
fn open(path: &Path) -> Option<Place> {
    let name = path.file_name()?.to_str()?;
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_place = is_name && fs::symlink_metadata(path).ok()?.is_dir();
    is_place.then(|| Place::open(path)).flatten()
}
