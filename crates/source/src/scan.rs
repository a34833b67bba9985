//! A selection as a list of files.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, fstat, statat};
use rustix::io::Errno;

use super::batch::with_threads;
use super::error::{SourceError, shown};
use super::git_place;
use super::git_tree;
use super::glob::Globs;
use super::handle::{names, open_below, open_root};
use super::listing::{Directory, Entry, From, Kind, Listing, Stamp};
use super::notices::Notices;
use super::options::Options;
use super::progress::Progress;
use super::project::{Project, work_tree_above};
use super::repository::Repository;
use super::rules::{Present, Reading, Rules};
use super::selection::Selection;
use super::walk::{Found, FoundDirectory, Level, Walk};

/// How many names an error lists at most.
const LISTED: usize = 10;

/// Lists the files of a selection, with the repositories that belong to it, and reads none of them.
pub fn scan(
    project: &Project,
    selection: &Selection,
    options: &Options,
    progress: &Progress,
) -> Result<Listing, SourceError> {
    progress.check()?;
    let include = Globs::new(&selection.include)?;
    let exclude = Globs::new(&selection.exclude)?;
    let path = selection.path.as_deref().unwrap_or(Path::new(""));
    let selected = resolve(project, path)?;
    let absolute = project.root().join(&selected);
    if absolute.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
        return one_file(project, &selected);
    }
    // What took the place of a directory on the way since it was resolved is not followed.
    let root = open_root(project.root()).and_then(|top| open_below(&top, &selected));
    let root = Arc::new(root.map_err(|errno| SourceError::read(&selected, errno))?);
    let notices = Notices::default();
    let global = Reading { global: None, notices: &notices };
    let global = options.global_ignore.as_deref().and_then(|file| global.file(file));
    let reading = Reading { global, notices: &notices };
    let top = highest(project, &absolute);
    let above = if selection.ignored { None } else { above(&reading, project, &top, &absolute)? };
    let walk = Walk {
        root: &root,
        absolute: &absolute,
        place: absolute.strip_prefix(&top).unwrap_or(Path::new("")),
        include,
        exclude,
        ignored: selection.ignored,
        git: selection.git,
        reading,
        trusted: trusted(project),
        left_out: options.left_out.iter().filter_map(|directory| identity(directory)).collect(),
        progress,
        found: Mutex::new(Found::default()),
    };
    let is_included = walk.include.is_empty();
    let level = Level { path: PathBuf::new(), rules: above, tracked_only: false, is_included };
    with_threads(|pool| pool.scope(|scope| walk.directory(scope, level)))?;
    let found = walk.finish()?;
    progress.check()?;
    let mut listing = Listing::default();
    let (directories, repositories) = (found.directories, found.repositories);
    listing.directories = taken(directories, &root);
    if !repositories.is_empty() {
        let kept: HashSet<&Path> =
            listing.directories.iter().map(|directory| &*directory.path).collect();
        let repositories: Vec<_> =
            repositories.into_iter().filter(|(path, _)| kept.contains(&**path)).collect();
        listing.repositories = git_place::place(&absolute, repositories, &notices);
        listing.written = git_tree::written(&listing.repositories)?;
        let trees = with_threads(|_| {
            git_tree::list(&listing.repositories, &listing.written, &notices, progress)
        })??;
        listing.repositories_at = listing.directories.len();
        listing.directories.extend(trees);
    }
    listing.notices = notices.into_vec();
    Ok(listing)
}

/// The directories in which repositories of the project may be. A work tree that was added to a repository has
/// its own elsewhere, and its submodules have theirs in there.
fn trusted(project: &Project) -> Vec<PathBuf> {
    let own = Repository::of(project.root());
    let own = own.into_iter().flat_map(|repository| [repository.git, repository.common]);
    own.chain([project.root().to_owned()]).collect()
}

/// Device and inode of a file or a directory.
pub fn identity(directory: &Path) -> Option<(u64, u64)> {
    let stat = statat(CWD, directory, AtFlags::empty()).ok()?;
    let stamp = Stamp::of(&stat);
    Some((stamp.device, stamp.inode))
}

/// A path of the project without links, relative to it.
pub fn resolve(project: &Project, path: &Path) -> Result<PathBuf, SourceError> {
    let outside = || SourceError::Outside { path: shown(path), project: shown(project.root()) };
    let mut depth = 0_usize;
    for part in path.components() {
        depth = match part {
            Component::Normal(_) => depth + 1,
            Component::CurDir => depth,
            Component::ParentDir => depth.checked_sub(1).ok_or_else(outside)?,
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        };
    }
    match project.root().join(path).canonicalize() {
        Ok(real) => real.strip_prefix(project.root()).map(Path::to_owned).map_err(|_| outside()),
        Err(cause) => match Errno::from_io_error(&cause) {
            Some(Errno::NOENT | Errno::NOTDIR) => Err(missing(project, path)),
            Some(errno) => Err(SourceError::read(path, errno)),
            None => Err(SourceError::Io { action: "find", path: shown(path), cause }),
        },
    }
}

/// Says which part of a path is not there, and what is there instead.
fn missing(project: &Project, path: &Path) -> SourceError {
    let mut directory = PathBuf::new();
    let mut absent = None;
    for part in path.components() {
        if project.root().join(&directory).join(part).canonicalize().is_err() {
            absent = part.as_os_str().to_str();
            break;
        }
        directory.push(part);
    }
    let real = project.root().join(&directory).canonicalize();
    // The names of what lies outside are nobody's business.
    let inside = real.ok().filter(|real| real.starts_with(project.root()));
    let there = inside.and_then(|real| names(&open_root(&real).ok()?).ok()).unwrap_or_default();
    let there: Vec<String> = there
        .iter()
        .map(|(name, _)| shown(Path::new(name)))
        .filter(|name| name != ".git")
        .collect();
    let known: Vec<&str> = there.iter().map(String::as_str).collect();
    let suggested = spec::suggest::did_you_mean(absent.unwrap_or_default(), &known);
    let hint = if suggested.is_empty() && !known.is_empty() {
        let more = if known.len() > LISTED { ", and more" } else { "" };
        let listed: Vec<String> =
            known.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        format!(", `{}` has {}{more}", shown(&directory), listed.join(", "))
    } else {
        suggested
    };
    SourceError::Missing { path: shown(path), project: shown(project.root()), hint }
}

/// A single file, whatever rules say of it.
fn one_file(project: &Project, path: &Path) -> Result<Listing, SourceError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Listing::default());
    };
    let read = |errno| SourceError::read(path, errno);
    let root = open_root(project.root()).and_then(|top| open_below(&top, parent));
    let root = root.map_err(read)?;
    let stamp = Stamp::of(&fstat(&root).map_err(read)?);
    let file = Stamp::of(&statat(&root, name, AtFlags::SYMLINK_NOFOLLOW).map_err(read)?);
    if !file.file_type().is_file() {
        let cause = std::io::Error::other("it is neither a directory nor a regular file");
        return Err(SourceError::Io { action: "read", path: shown(path), cause });
    }
    let entries = vec![Entry { name: name.to_owned(), kind: Kind::File, stamp: file }];
    let from = From { root: Arc::new(root), path: PathBuf::new(), is_merged: false };
    let directories = vec![Directory { path: PathBuf::new(), stamp, entries, from }];
    Ok(Listing { directories, ..Listing::default() })
}

/// The highest directory whose rules matter for a part of a project: the top of the work tree that holds it,
/// or the project's own if that is higher.
fn highest(project: &Project, selected: &Path) -> PathBuf {
    let top = work_tree_above(selected, project.root());
    let top = top.filter(|top| project.root().starts_with(top));
    top.unwrap_or_else(|| project.root().to_owned())
}

/// The rules of the directories above the selected one.
fn above(
    reading: &Reading<'_>,
    project: &Project,
    top: &Path,
    selected: &Path,
) -> Result<Option<Arc<Rules>>, SourceError> {
    let mut between: Vec<&Path> =
        selected.ancestors().skip(1).take_while(|above| above.starts_with(top)).collect();
    between.reverse();
    let mut rules = None;
    for directory in between {
        let handle = open_root(directory).map_err(|errno| SourceError::read(directory, errno))?;
        let present = Present {
            gitignore: true,
            ciignore: directory.starts_with(project.root()),
            repository: Repository::of(directory),
        };
        let place = directory.strip_prefix(top).unwrap_or(Path::new(""));
        rules = Some(reading.rules(rules, &handle, place, directory, present)?);
    }
    Ok(rules)
}

/// The directories that are taken, and those above them, in the order of their paths.
fn taken(mut found: Vec<FoundDirectory>, root: &Arc<OwnedFd>) -> Vec<Directory> {
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let mut needed = HashSet::new();
    for directory in &found {
        if directory.is_taken
            || !directory.entries.is_empty()
            || directory.path.as_os_str().is_empty()
        {
            for path in directory.path.ancestors() {
                if !needed.insert(path.to_owned()) {
                    break;
                }
            }
        }
    }
    let kept = found.into_iter().filter(|directory| needed.contains(&directory.path));
    kept.map(|FoundDirectory { path, stamp, entries, .. }| {
        let from = From { root: root.clone(), path: path.clone(), is_merged: false };
        Directory { path, stamp, entries, from }
    })
    .collect()
}
