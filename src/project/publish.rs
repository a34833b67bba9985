//! An artifact takes its place: whole, and instead of an older one of its name.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::FilesError;
use super::record::{Identity, Record};
use crate::process::scratch::Scratch;

/// An artifact where the user finds it.
pub struct Published {
    pub path: PathBuf,
    /// Regular files.
    pub files: u64,
    /// Of their content.
    pub bytes: u64,
}

/// What becomes an artifact, beside its place.
pub struct Staged {
    pub scratch: Scratch,
    /// In the scratch directory.
    pub path: PathBuf,
}

/// Where an artifact belongs.
pub struct Place {
    pub directory: PathBuf,
    /// One name in there.
    pub name: String,
    /// The directory whose record says what is ours.
    pub records: PathBuf,
    /// What the user calls it.
    pub called: String,
}

/// Moves what was staged to its place. Several processes take turns.
pub fn publish(place: &Place, staged: &Staged) -> Result<Published, FilesError> {
    let Place { directory, name, records, called } = place;
    let path = directory.join(name);
    let failed = |error: io::Error| FilesError::io("write the artifact", &path)(error);
    let (mut files, mut bytes) = (0, 0);
    measure(&staged.path, &mut files, &mut bytes).map_err(failed)?;
    let turn = File::open(directory).map_err(failed)?;
    turn.lock().map_err(failed)?;

    let mut record = Record::read(records).map_err(failed)?;
    let old = replaceable(place, &record)?;
    let new = Identity::of(&staged.path).map_err(failed)?;
    record.add(name, new.clone());
    record.write(records).map_err(failed)?;
    match old {
        None => take_free_place(&staged.path, &path).map_err(failed)?,
        Some(old) => {
            let out = replace(&staged.path, &path, &staged.scratch).map_err(failed)?;
            // Somebody may have put something else there since it was looked at.
            if Identity::of(&out).map_err(failed)? != old {
                replace(&out, &path, &staged.scratch).map_err(failed)?;
                return Err(foreign(called, &path));
            }
        }
    }
    record.keep(name, new);
    record.write(records).map_err(failed)?;
    Ok(Published { path, files, bytes })
}

/// Refuses a place where something is that is not an artifact of ours.
pub fn check_place(place: &Place) -> Result<(), FilesError> {
    let path = place.directory.join(&place.name);
    let record =
        Record::read(&place.records).map_err(FilesError::io("write the artifact", &path))?;
    replaceable(place, &record).map(|_| ())
}

/// The older artifact that a new one replaces.
fn replaceable(place: &Place, record: &Record) -> Result<Option<Identity>, FilesError> {
    let path = place.directory.join(&place.name);
    match Identity::of(&path) {
        Ok(old) if record.has(&place.name, &old) => Ok(Some(old)),
        Ok(_) => Err(foreign(&place.called, &path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FilesError::io("write the artifact", &path)(error)),
    }
}

fn foreign(name: &str, path: &Path) -> FilesError {
    FilesError::Refused(format!(
        "artifact `{name}`: `{}` is there already and is none of `ci`, remove it or choose another name",
        path.display()
    ))
}

/// Moves something to a place where nothing is.
fn take_free_place(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not on every file system; the turn keeps other artifacts away.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        moved => Ok(moved?),
    }
}

/// Moves something to a place, and what is there away. Returns where that is then.
fn replace(from: &Path, to: &Path, scratch: &Scratch) -> io::Result<PathBuf> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(from.to_owned()),
        // Not on every file system.
        Err(Errno::INVAL | Errno::NOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let older = scratch.older();
    fs::rename(to, &older)?;
    match fs::rename(from, to) {
        Ok(()) => Ok(older),
        Err(error) => {
            fs::rename(&older, to)?;
            Err(error)
        }
    }
}

fn measure(path: &Path, files: &mut u64, bytes: &mut u64) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            measure(&entry?.path(), files, bytes)?;
        }
    } else if found.is_file() {
        *files += 1;
        *bytes += found.len();
    }
    Ok(())
}
