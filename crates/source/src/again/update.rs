//! The steps of bringing a tree up to date.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::ThreadPool;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, RawMode, fchmod, fstat};
use rustix::io::Errno;

use super::clear::clear;
use super::compare::{Comparison, State};
use super::format::Index;
use super::header::{boot, digest};
use super::kept::Kept;
use super::plan::{Target, Targets};
use super::remove::Remover;
use super::stop::Stop;
use super::trust::tells_changes;
use super::write::{Old, write};
use crate::batch::with_threads;
use crate::copy::Copy;
use crate::destination::{Destination, KEPT};
use crate::handle::{open_below, open_root};
use crate::import::Imported;
use crate::links::Links;
use crate::listing::{Directory, Listing, Stamp};
use crate::made::MadeFiles;
use crate::options::Options;
use crate::progress::Progress;
use crate::project::Project;
use crate::scan::scan;
use crate::selection::Selection;
use crate::settle::settle;

pub fn update(
    project: &Project,
    selection: &Selection,
    options: &Options,
    kept: &Kept<'_>,
    progress: &Progress,
) -> Result<Imported, Stop> {
    progress.check()?;
    let bytes = std::fs::read(kept.index).map_err(|_| Stop::unusable("it has no index"))?;
    let index = with_threads(|_| Index::read(&bytes))?;
    let index = index.ok_or_else(|| Stop::unusable("its index is damaged"))?;
    if boot() != Some(index.root.boot) {
        return Err(Stop::unusable("it was made before the machine was started"));
    }
    let digest = digest(project, selection, options);
    if index.root.digest != digest {
        return Err(Stop::unusable("it was made of another selection or by another user"));
    }
    let failed = |errno| Stop::at(kept.tree, errno);
    let root = open_root(kept.tree).map_err(failed)?;
    let device = Stamp::of(&fstat(&root).map_err(failed)?).device;
    if device != index.root.device || !tells_changes(&root) {
        return Err(Stop::unusable("it is on another file system"));
    }
    let mut extended = options.clone();
    extended.left_out.extend([kept.tree, kept.index, kept.trash].map(Path::to_owned));
    let mut listing = scan(project, selection, &extended, progress)?;
    let made = MadeFiles::default();
    let destination = Destination::at(root);
    let copy = Copy::new(&destination, progress, Some(&made));
    let changed = with_threads(|pool| change(&copy, pool, &mut listing, &index, kept))?;
    let (old, kept_files) = changed?;
    let (files, bytes) = copy.counted();
    // Without an index the next import is a whole one.
    let targets = Targets::of(&listing);
    _ = write(destination.root(), kept.index, digest, &targets, &old, made);
    let (size, notices) = (listing.size(), std::mem::take(&mut listing.notices));
    Ok(Imported { files, bytes, size, kept: kept_files, notices })
}

/// Changes the tree. Returns what stayed in it.
fn change<'i>(
    copy: &Copy<'_>,
    pool: &ThreadPool,
    listing: &mut Listing,
    index: &'i Index<'i>,
    kept: &Kept<'_>,
) -> Result<(Old<'i>, u64), Stop> {
    let root = copy.destination.root();
    let (states, mut touched, todo) = {
        let targets = Targets::of(listing);
        let links = Links::of(&listing.directories);
        let comparison = Comparison { root, index, targets: &targets, links: &links };
        let states = targets.all.par_iter().map(|target| {
            copy.progress.check()?;
            comparison.directory(target)
        });
        let mut states = states.collect::<Result<Vec<State>, Stop>>()?;
        match std::fs::remove_file(kept.index) {
            Ok(()) => {}
            Err(error) => {
                return Err(Stop::Unusable(format!("its index cannot be removed: {error}")));
            }
        }
        let mut remover = Remover::new(root, kept.trash)?;
        let touched = clear(&mut remover, &targets, &mut states, index)?;
        let todo = todo(&targets, &states);
        let paths = || targets.all.iter().map(|target| target.path.to_owned());
        let touched: HashMap<PathBuf, bool> = paths().zip(touched).collect();
        let states: HashMap<PathBuf, State> = paths().zip(states).collect();
        (states, touched, todo)
    };
    let links = Links::of(&todo);
    copy.directories(pool, &todo)?;
    copy.entries(pool, &todo, &links)?;
    copy.links(&todo, &links)?;
    for (path, content) in &listing.written {
        copy.write(path, content)?;
    }
    let is_unsettled = settle(copy, pool, listing)?;
    let targets = Targets::of(listing);
    let mut finished: Vec<&Directory> = Vec::new();
    for target in &targets.all {
        let is_same = matches!(states.get(target.path), Some(State::Same { .. }));
        let is_touched = touched.get(target.path).is_none_or(|touched| *touched);
        let is_finished = is_same && !is_touched && !target.has_written;
        if !is_finished || target.is_git && !is_right(root, target)? {
            touched.insert(target.path.to_owned(), true);
            finished.extend(&target.sources);
        }
    }
    copy.finish(pool, finished)?;
    if let Some(block) = index.directories.get(Path::new("")) {
        let failed = |errno| Stop::at(kept.tree, errno);
        let mode = block.own.mode & 0o7777;
        if fstat(root).map_err(failed)?.st_mode & 0o7777 != mode {
            fchmod(root, Mode::from_raw_mode(mode as RawMode)).map_err(failed)?;
        }
    }
    let files = states.values().map(|state| match state {
        State::Same { files, .. } => *files,
        State::Changed(change) => change.files,
        State::New => 0,
    });
    let files = files.sum();
    Ok((Old { index: Some(index), states, touched, is_unsettled }, files))
}

/// What has to be copied.
fn todo(targets: &Targets<'_>, states: &[State]) -> Vec<Directory> {
    let mut todo = Vec::new();
    for (target, state) in targets.all.iter().zip(states) {
        for directory in &target.sources {
            let mut entries = match state {
                State::Same { .. } => continue,
                State::Changed(change) if change.copied.is_empty() => continue,
                State::Changed(_) | State::New => directory.entries.clone(),
            };
            if let State::Changed(change) = state {
                entries.retain(|entry| change.copied.contains(&entry.name));
            }
            let (path, from) = (directory.path.clone(), directory.from.clone());
            todo.push(Directory { path, stamp: directory.stamp, entries, from });
        }
    }
    todo
}

/// Whether a directory of the tree has the mode and the time of the listing.
fn is_right(root: &OwnedFd, target: &Target<'_>) -> Result<bool, Stop> {
    let stat = open_below(root, target.path).and_then(|directory| fstat(&directory));
    let stamp = match stat {
        Ok(stat) => Stamp::of(&stat),
        // It has another mode.
        Err(Errno::ACCESS) => return Ok(false),
        Err(errno) => return Err(Stop::at(target.path, errno)),
    };
    let wanted = target.sources[0].stamp;
    Ok((stamp.mode & 0o7777, stamp.modified) == (wanted.mode & KEPT, wanted.modified))
}
