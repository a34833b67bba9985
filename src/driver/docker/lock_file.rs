//! Files that tell at once, on the machine of a run, whether the run is alive.
//!
//! A run holds a lock on its file until its process ends, whatever ends it. The file says which boot of
//! which machine, engine and namespace the run belongs to: a home directory may be shared by machines whose
//! locks do not reach each other. It says which file it is, too: the image of a container has a copy of it.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where the kernel says which boot of which machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// More than a file holds, in bytes.
const LONGEST: u64 = 8192;

/// When nobody waits any more for a file that was not yet in its place.
const UNFINISHED: Duration = Duration::from_mins(1);

/// A file that is locked by a run.
pub struct LockFile {
    path: PathBuf,
    _file: File,
}

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The engine's address.
    pub engine: String,
    pub namespace: String,
}

impl LockFile {
    pub fn new(directory: &Path, run: &str, owner: &Owner) -> std::io::Result<Self> {
        files::trust::make(directory)?;
        let path = path(directory, run);
        // It is locked and complete when it appears.
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.lock()?;
        let (boot, place) = (boot().unwrap_or_default(), place(&file)?);
        write!(file, "{boot}\n{}\n{}\n{place}\n", owner.namespace, owner.engine)?;
        fs::rename(&new, &path)?;
        Ok(Self { path, _file: file })
    }

    /// Removes the file of a run that has removed everything else.
    pub fn remove(&self) {
        _ = fs::remove_file(&self.path);
    }
}

/// Whether a run is alive as far as this machine knows. `None` for a run of another machine, or of this one
/// before it was restarted.
pub fn is_alive_here(directory: &Path, run: &str) -> Option<bool> {
    let mut file = File::open(path(directory, run)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
        Ok(()) => (read(&mut file)?.0 == boot()?).then_some(false),
    }
}

/// Removes the file of a run whose objects are removed.
pub fn forget(directory: &Path, run: &str) {
    if is_alive_here(directory, run) == Some(false) {
        _ = fs::remove_file(path(directory, run));
    }
}

/// Removes the files of runs that were killed before they made anything, or that have nothing left:
/// those of one engine and of one namespace, or of all. `has_objects` says for which runs there is still
/// something on the engine.
pub fn tidy(
    directory: &Path,
    engine: &str,
    namespace: Option<&str>,
    has_objects: impl Fn(&str) -> bool,
) {
    let (Ok(entries), Some(boot)) = (fs::read_dir(directory), boot()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(run) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let is_new = match path.extension().and_then(|extension| extension.to_str()) {
            Some("lock") => false,
            Some("new") => true,
            _ => continue,
        };
        let Ok(mut file) = File::open(&path) else { continue };
        if file.try_lock_shared().is_err() {
            continue;
        }
        let is_abandoned = match is_new {
            // Between its creation and its lock.
            true => age(&file).is_some_and(|age| age > UNFINISHED),
            false => read(&mut file).is_some_and(|(of, owner)| {
                let is_wanted = namespace.is_none_or(|namespace| owner.namespace == namespace);
                of == boot && owner.engine == engine && is_wanted && !has_objects(run)
            }),
        };
        if is_abandoned {
            _ = fs::remove_file(&path);
        }
    }
}

/// The boot and the owner that a file names. `None` for a copy of a file, as an image of a container has it
/// in which a run is alive.
fn read(file: &mut File) -> Option<(String, Owner)> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    let place = place(file).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    let (boot, namespace, engine) = (lines.next()?, lines.next()?, lines.next()?);
    (lines.next()? == place).then_some((boot, Owner { engine, namespace }))
}

/// What tells a file from its copies.
fn place(file: &File) -> std::io::Result<String> {
    let found = file.metadata()?;
    Ok(format!("{}:{}", found.dev(), found.ino()))
}

fn age(file: &File) -> Option<Duration> {
    SystemTime::now().duration_since(file.metadata().ok()?.modified().ok()?).ok()
}

fn boot() -> Option<String> {
    Some(fs::read_to_string(BOOT_ID).ok()?.trim().to_owned()).filter(|id| !id.is_empty())
}

fn path(directory: &Path, run: &str) -> PathBuf {
    // A run's name may come from a label that anybody has set.
    let name: String =
        run.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    directory.join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_of_its_run_until_the_machine_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let owner = Owner { engine: "unix:///engine".into(), namespace: "default".into() };
        assert_eq!(is_alive_here(directory, "run"), None);
        let held = LockFile::new(directory, "run", &owner).unwrap();
        assert_eq!(is_alive_here(directory, "run"), Some(true));
        tidy(directory, "unix:///engine", None, |_| false);
        assert_eq!(is_alive_here(directory, "run"), Some(true));
        drop(held);
        assert_eq!(is_alive_here(directory, "run"), Some(false));

        // A copy, in an image of the container in which the run may be alive.
        fs::copy(path(directory, "run"), path(directory, "copy")).unwrap();
        assert_eq!(is_alive_here(directory, "copy"), None);
        forget(directory, "copy");
        assert!(path(directory, "copy").exists());

        // Of another engine, of another namespace, or with something left.
        tidy(directory, "unix:///other", None, |_| false);
        tidy(directory, "unix:///engine", Some("other"), |_| false);
        tidy(directory, "unix:///engine", None, |run| run == "run");
        assert_eq!(is_alive_here(directory, "run"), Some(false));
        tidy(directory, "unix:///engine", Some("default"), |_| false);
        assert!(!path(directory, "run").exists());

        // A file of another machine, or of an older version, tells nothing.
        for content in ["another-boot\ndefault\nunix:///engine\n", ""] {
            fs::write(path(directory, "other"), content).unwrap();
            assert_eq!(is_alive_here(directory, "other"), None);
            forget(directory, "other");
            tidy(directory, "unix:///engine", None, |_| false);
            assert!(path(directory, "other").exists());
        }
    }
}
