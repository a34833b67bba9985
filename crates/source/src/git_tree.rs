//! Repositories that come along, so that git works in the copy without anything outside of it.
//!
//! A `.git` directory is copied as it is. Where `.git` is a file, its repository is elsewhere:
//!
//! - The one of a submodule may be part of a repository that comes along. Then the copy has such a file too, with
//!   a relative path.
//! - The one of any other submodule becomes the directory `.git` of the copy.
//! - So do `HEAD` and `index` of a work tree that was added with `git worktree add`, together with the objects,
//!   refs and settings of the repository that it was added to.
//!
//! Objects that a repository borrows from another one (`objects/info/alternates`) are copied into it.
//!
//! Left out are hooks, as in a clone: they are programs of this machine. Locks and unfinished objects belong to
//! processes that run on it. The list of added work trees names directories that are not in the copy.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, fstat, statat};
use rustix::io::Errno;

use super::error::{SourceError, shown};
use super::git_config;
use super::git_file;
use super::git_place::{Placed, Way};
use super::handle::{names, open_below, open_root};
use super::listing::{Directory, Entry, From, Kind, Stamp};
use super::notices::Notices;
use super::progress::Progress;
use super::repository::LARGEST_CONFIG;

/// Most repositories that borrow objects from each other in a row, as in git.
const MOST_ALTERNATES: usize = 5;

/// What a work tree that was added shares with the repository that it was added to.
const SHARED: [&str; 9] =
    ["config", "description", "info", "lfs", "logs", "objects", "packed-refs", "refs", "shallow"];

/// Files that say where repositories are in the copy.
pub fn written(placed: &[Placed]) -> Result<Vec<(PathBuf, Vec<u8>)>, SourceError> {
    let mut written = Vec::new();
    for Placed { work_tree, path, repository, way } in placed {
        if *way == Way::InPlace {
            continue;
        }
        let keys: &[&str] =
            if repository.is_linked() { &["worktree", "bare"] } else { &["worktree"] };
        let config = settings(&repository.common.join("config"))?;
        let mut config = git_config::without(&config.unwrap_or_default(), "core", keys);
        if *way == Way::Below {
            let mut pointer = b"gitdir: ".to_vec();
            pointer.extend(up_and_down(work_tree, path));
            pointer.push(b'\n');
            written.push((work_tree.join(".git"), pointer));
            config.extend(b"[core]\n\tworktree = \"");
            for byte in up_and_down(path, work_tree) {
                if matches!(byte, b'"' | b'\\') {
                    config.push(b'\\');
                }
                config.push(byte);
            }
            config.extend(b"\"\n");
        } else if let Some(own) = settings(&repository.git.join("config.worktree"))? {
            written.push((path.join("config.worktree"), git_config::without(&own, "core", keys)));
        }
        written.push((path.join("config"), config));
    }
    Ok(written)
}

fn settings(file: &Path) -> Result<Option<Vec<u8>>, SourceError> {
    match git_file::read(file, LARGEST_CONFIG) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(SourceError::read(file, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
        }
    }
}

/// The way from one directory of the copy to another.
fn up_and_down(from: &Path, to: &Path) -> Vec<u8> {
    let mut way = b"../".repeat(from.components().count());
    way.extend_from_slice(to.as_os_str().as_bytes());
    way
}

/// Lists what repositories hold, on the threads of the pool that it runs in.
pub fn list(
    placed: &[Placed],
    written: &[(PathBuf, Vec<u8>)],
    notices: &Notices,
    progress: &Progress,
) -> Result<Vec<Directory>, SourceError> {
    let written = written.iter().map(|(path, _)| &**path).collect();
    let mut lister =
        Lister { directories: Vec::new(), borrowed: Vec::new(), written, notices, progress };
    for Placed { path, repository, way, .. } in placed {
        match way {
            Way::Below => continue,
            _ if repository.is_linked() => {
                lister.tree(&repository.git, path, Part::Added)?;
                lister.tree(&repository.common, path, Part::Shared)?;
            }
            _ => lister.tree(&repository.git, path, Part::Whole)?,
        }
        for _ in 0..MOST_ALTERNATES {
            for (objects, path) in std::mem::take(&mut lister.borrowed) {
                lister.borrow(&objects, &path)?;
            }
        }
    }
    Ok(lister.directories)
}

/// What is taken of a directory of git's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// What an added work tree has for itself.
    Added,
    /// What it shares with others.
    Shared,
    /// The objects that another repository borrows.
    Objects,
}

struct Lister<'a> {
    directories: Vec<Directory>,
    /// Directories of objects that borrow from others, and their places in the copy.
    borrowed: Vec<(PathBuf, PathBuf)>,
    written: HashSet<&'a Path>,
    notices: &'a Notices,
    progress: &'a Progress,
}

/// A directory that is to be listed, relative to the root of its tree.
struct Level {
    path: PathBuf,
    in_objects: bool,
}

/// What a directory holds.
struct Listed {
    directory: Directory,
    below: Vec<Level>,
    /// A directory of objects that borrows from others, and its place in the copy.
    borrowed: Option<(PathBuf, PathBuf)>,
}

impl Lister<'_> {
    /// Lists a directory of git's that is copied to `place`.
    fn tree(&mut self, absolute: &Path, place: &Path, part: Part) -> Result<(), SourceError> {
        let root = open_root(absolute).map_err(|errno| SourceError::read(absolute, errno))?;
        let root = Arc::new(root);
        let mut levels = vec![Level { path: PathBuf::new(), in_objects: part == Part::Objects }];
        while !levels.is_empty() {
            let listed = levels.par_iter().map(|level| {
                self.progress.check()?;
                self.directory(absolute, &root, place, part, level)
            });
            let listed = listed.collect::<Result<Vec<_>, SourceError>>()?;
            levels.clear();
            for Listed { directory, below, borrowed } in listed.into_iter().flatten() {
                self.directories.push(directory);
                levels.extend(below);
                self.borrowed.extend(borrowed);
            }
        }
        Ok(())
    }

    /// Lists one directory. `None` if it is gone.
    fn directory(
        &self,
        absolute: &Path,
        root: &Arc<OwnedFd>,
        place: &Path,
        part: Part,
        level: &Level,
    ) -> Result<Option<Listed>, SourceError> {
        let failed = |errno| SourceError::read(&absolute.join(&level.path), errno);
        let directory = match open_below(root, &level.path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stamp = Stamp::of(&fstat(&directory).map_err(failed)?);
        let names = match names(&directory) {
            Ok(names) => names,
            // It was removed after it was opened.
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let has = |name: &str| names.iter().any(|(known, _)| known == name);
        let is_repository = has("HEAD") && has("objects");
        let path = join(place, &level.path);
        let (mut entries, mut below, mut borrowed) = (Vec::new(), Vec::new(), None);
        for (name, _) in &names {
            let stat = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Stamp::of(&stat),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let kind = stat.file_type();
            let is_directory = kind == FileType::Directory;
            if level.in_objects && name == "alternates" && level.path.ends_with("info") {
                let objects = absolute.join(&level.path).parent().map(Path::to_owned);
                let to = path.parent().map(Path::to_owned);
                borrowed = objects.zip(to);
                continue;
            }
            let is_left_out = part != Part::Whole
                && is_left_out(part, &level.path.join(name), is_directory)
                || is_directory && is_repository && (name == "hooks" || name == "worktrees")
                || !is_directory && is_unfinished(name, level.in_objects)
                || !self.written.is_empty() && self.written.contains(&*path.join(name));
            if is_left_out {
                continue;
            }
            match kind {
                FileType::Directory => {
                    let in_objects = level.in_objects || is_repository && name == "objects";
                    below.push(Level { path: level.path.join(name), in_objects });
                }
                FileType::RegularFile => {
                    entries.push(Entry { name: name.clone(), kind: Kind::File, stamp: stat });
                }
                FileType::Symlink => {
                    entries.push(Entry { name: name.clone(), kind: Kind::Symlink, stamp: stat });
                }
                // The socket of a monitor.
                _ => {}
            }
        }
        let is_merged = part != Part::Whole;
        let from = From { root: root.clone(), path: level.path.clone(), is_merged };
        let directory = Directory { path, stamp, entries, from };
        Ok(Some(Listed { directory, below, borrowed }))
    }

    /// Lists the objects that a directory of objects borrows.
    fn borrow(&mut self, objects: &Path, place: &Path) -> Result<(), SourceError> {
        let Some(text) = settings(&objects.join("info/alternates"))? else { return Ok(()) };
        for line in text.split(|byte| *byte == b'\n') {
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let from = objects.join(OsStr::from_bytes(line));
            if from.is_dir() {
                let from = from.canonicalize().unwrap_or(from);
                if from.join("info/alternates").exists() {
                    self.borrowed.push((from.clone(), place.to_owned()));
                }
                self.tree(&from, place, Part::Objects)?;
            } else {
                self.notices.add(format!(
                    "`{}` borrows objects from `{}`, which is not there",
                    shown(place),
                    shown(&from)
                ));
            }
        }
        Ok(())
    }
}

/// Whether an entry at this path of a tree does not belong to the part that is taken.
fn is_left_out(part: Part, path: &Path, is_directory: bool) -> bool {
    let mut names = path.iter().filter_map(OsStr::to_str);
    let (first, second) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    match part {
        Part::Whole => false,
        Part::Added => ["commondir", "gitdir", "locked"].contains(&first),
        // These belong to each work tree.
        Part::Shared => {
            let is_other = match first {
                "refs" => ["bisect", "rewritten", "worktree"].contains(&second),
                "logs" => second == "HEAD",
                "info" => second == "sparse-checkout",
                _ => false,
            };
            is_other || !SHARED.contains(&first)
        }
        Part::Objects => {
            let is_hash = first.len() == 2 && first.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_pack = first == "pack" && !second.starts_with("multi-pack-index");
            !is_hash && !is_pack || second.is_empty() && !is_directory
        }
    }
}

/// Whether a file belongs to a process that runs on this machine.
fn is_unfinished(name: &OsStr, in_objects: bool) -> bool {
    let name = name.as_bytes();
    if in_objects {
        name.starts_with(b"tmp_") || name.starts_with(b".tmp-")
    } else {
        name.ends_with(b".lock") || name == b"gc.pid"
    }
}

/// Joins paths without a slash at the end.
fn join(place: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { place.to_owned() } else { place.join(path) }
}
