//! The files of a selection, found by several threads.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::Scope;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, fstat, statat};
use rustix::io::Errno;

use super::error::{SourceError, shown};
use super::glob::Globs;
use super::handle::{names, open_below};
use super::listing::{Entry, Kind, Stamp};
use super::progress::Progress;
use super::repository::Repository;
use super::rules::{Present, Reading, Rules, Verdict};

pub struct Walk<'a> {
    /// The selected directory.
    pub root: &'a OwnedFd,
    /// Its absolute path.
    pub absolute: &'a Path,
    /// Its path below the highest directory with rules.
    pub place: &'a Path,
    pub include: Globs,
    pub exclude: Globs,
    /// Whether ignored files are taken.
    pub ignored: bool,
    /// Whether repositories are taken.
    pub git: bool,
    pub reading: Reading<'a>,
    /// The project and its own repository, wherever that is. Other repositories are left out.
    pub trusted: Vec<PathBuf>,
    /// Device and inode of files and directories that are left out.
    pub left_out: HashSet<(u64, u64)>,
    pub progress: &'a Progress,
    pub found: Mutex<Found>,
}

#[derive(Default)]
pub struct Found {
    pub directories: Vec<FoundDirectory>,
    /// Directories whose `.git` is a repository.
    pub repositories: Vec<(PathBuf, Repository)>,
    failure: Option<SourceError>,
}

pub struct FoundDirectory {
    /// Relative to the selected one.
    pub path: PathBuf,
    pub stamp: Stamp,
    pub entries: Vec<Entry>,
    /// Whether the directory is taken even if nothing in it is.
    pub is_taken: bool,
}

/// A directory that is to be listed.
pub struct Level {
    /// Relative to the selected one.
    pub path: PathBuf,
    /// Those of the directory above.
    pub rules: Option<Arc<Rules>>,
    pub tracked_only: bool,
    pub is_included: bool,
}

/// The path of a directory, with room for a name at its end.
struct Below {
    bytes: Vec<u8>,
    /// How many bytes are in front of the name.
    length: usize,
}

impl Below {
    fn new(directory: &Path) -> Self {
        let mut bytes = directory.as_os_str().as_bytes().to_vec();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        Self { length: bytes.len(), bytes }
    }

    fn entry(&mut self, name: &OsStr) -> &Path {
        self.bytes.truncate(self.length);
        self.bytes.extend_from_slice(name.as_bytes());
        Path::new(OsStr::from_bytes(&self.bytes))
    }
}

impl Walk<'_> {
    /// Lists a directory, and everything below it on the threads of `scope`.
    pub fn directory<'scope>(&'scope self, scope: &Scope<'scope>, level: Level) {
        let listed = self.progress.check().and_then(|()| self.list(&level));
        let below = match listed {
            Ok(below) => below,
            Err(error) => {
                self.found().failure.get_or_insert(error);
                return;
            }
        };
        for level in below {
            if self.found().failure.is_some() {
                return;
            }
            scope.spawn(move |scope| self.directory(scope, level));
        }
    }

    /// What was found, or why the walk was given up.
    pub fn finish(self) -> Result<Found, SourceError> {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        match found.failure.take() {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, level: &Level) -> Result<Vec<Level>, SourceError> {
        let failed = |errno| SourceError::read(&level.path, errno);
        let directory = match open_below(self.root, &level.path) {
            Ok(directory) => directory,
            // It has gone meanwhile, or something else has taken its place.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
                if !level.path.as_os_str().is_empty() =>
            {
                return Ok(Vec::new());
            }
            Err(errno) => return Err(failed(errno)),
        };
        let stamp = Stamp::of(&fstat(&directory).map_err(failed)?);
        if self.left_out.contains(&(stamp.device, stamp.inode)) {
            return Ok(Vec::new());
        }
        let names = match names(&directory) {
            Ok(names) => names,
            // It was removed after it was opened.
            Err(Errno::NOENT) if !level.path.as_os_str().is_empty() => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        let place = self.place.join(&level.path);
        let has = |name: &str| {
            let bytes = name.as_bytes();
            names.binary_search_by(|(known, _)| known.as_bytes().cmp(bytes)).is_ok()
        };
        let has_git = has(".git");
        let absolute = || self.absolute.join(&level.path);
        let repository = if has_git { Repository::of(&absolute()) } else { None };
        let is_own = |repository: &Repository| {
            let is_within = |path: &Path| self.trusted.iter().any(|own| path.starts_with(own));
            is_within(&repository.git) && is_within(&repository.common)
        };
        let is_foreign = repository.as_ref().is_some_and(|repository| !is_own(repository));
        let repository = repository.filter(|_| !is_foreign);
        if self.git && has_git {
            match &repository {
                Some(repository) => {
                    self.found().repositories.push((level.path.clone(), repository.clone()));
                }
                None if is_foreign => self.reading.notices.add(format!(
                    "`{}` leads to a repository outside of the project, it was left out",
                    shown(&level.path.join(".git"))
                )),
                None => self.reading.notices.add(format!(
                    "`{}` leads to no repository, it was left out",
                    shown(&level.path.join(".git"))
                )),
            }
        }
        let rules = if self.ignored {
            None
        } else {
            let present =
                Present { gitignore: has(".gitignore"), ciignore: has(".ciignore"), repository };
            Some(self.reading.rules(
                level.rules.clone(),
                &directory,
                &place,
                &level.path,
                present,
            )?)
        };
        let mut entries = Vec::with_capacity(names.len());
        let mut below = Vec::new();
        // Names are put at the end of these, instead of being joined to a new path each.
        let (mut path, mut place) = (Below::new(&level.path), Below::new(&place));
        for (name, mut kind) in names {
            if name == ".git" {
                continue;
            }
            let mut stamp = None;
            if kind == FileType::Unknown {
                let Some(found) = self.stamp(&directory, &name, &level.path)? else { continue };
                kind = found.file_type();
                stamp = Some(found);
            }
            let is_directory = kind == FileType::Directory;
            let path = path.entry(&name);
            let verdict = match &rules {
                Some(rules) => rules.verdict(
                    &self.reading,
                    place.entry(&name),
                    is_directory,
                    level.tracked_only,
                ),
                None => Verdict::Taken,
            };
            if verdict == Verdict::LeftOut || self.exclude.matches(path, is_directory, false) {
                continue;
            }
            let is_included = self.include.matches(path, is_directory, level.is_included);
            if is_directory {
                let tracked_only = verdict == Verdict::TrackedOnly;
                let rules = rules.clone();
                below.push(Level { path: path.to_owned(), rules, tracked_only, is_included });
                continue;
            }
            if !is_included {
                continue;
            }
            let stamp = match stamp {
                Some(stamp) => Some(stamp),
                None => self.stamp(&directory, &name, &level.path)?,
            };
            let kind = match stamp.map(|stamp| (stamp, stamp.file_type())) {
                Some((stamp, FileType::RegularFile)) => (stamp, Kind::File),
                Some((stamp, FileType::Symlink)) => (stamp, Kind::Symlink),
                // It has become one since its name was read: what was there has gone.
                Some((_, FileType::Directory)) | None => continue,
                Some(_) => {
                    let path = shown(path);
                    self.reading
                        .notices
                        .add(format!("`{path}` is a socket, a pipe or a device, it was left out"));
                    continue;
                }
            };
            let (stamp, kind) = kind;
            if self.left_out.contains(&(stamp.device, stamp.inode)) {
                continue;
            }
            entries.push(Entry { name, kind, stamp });
        }
        let is_taken = level.is_included && !level.tracked_only;
        let path = level.path.clone();
        self.found().directories.push(FoundDirectory { path, stamp, entries, is_taken });
        Ok(below)
    }

    fn stamp(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        parent: &Path,
    ) -> Result<Option<Stamp>, SourceError> {
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stamp::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(SourceError::read(&parent.join(name), errno)),
        }
    }
}
