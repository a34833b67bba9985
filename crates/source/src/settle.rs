//! A repository that changes while it is copied.
//!
//! Each of its files is whole, but a ref may name an object that was made after the objects were listed, or that
//! was moved into a new pack. So repositories are listed again after they were copied, and what is different is
//! copied once more, until two listings are equal.

use std::collections::{HashMap, HashSet};

use rayon::ThreadPool;

use super::copy::{Copy, Key};
use super::error::SourceError;
use super::git_tree;
use super::links::Links;
use super::listing::{Directory, Entry, Listing, Stamp};
use super::notices::Notices;

/// How often a repository is listed at most.
const ROUNDS: u32 = 8;

/// Brings the repositories of a copy up to date. Returns whether anything had changed.
pub fn settle(
    copy: &Copy<'_>,
    pool: &ThreadPool,
    listing: &mut Listing,
) -> Result<bool, SourceError> {
    let mut has_changed = false;
    if listing.repositories.is_empty() {
        return Ok(has_changed);
    }
    for _ in 0..ROUNDS {
        let written = git_tree::written(&listing.repositories)?;
        // What they say has been said by the first listing.
        let notices = Notices::default();
        let again = git_tree::list(&listing.repositories, &written, &notices, copy.progress)?;
        let old = listing.directories.split_off(listing.repositories_at);
        let changed = changed(&old, &again);
        for (path, content) in &written {
            if !listing.written.contains(&(path.clone(), content.clone())) {
                copy.write(path, content)?;
            }
        }
        let is_same = changed.is_none() && listing.written == written;
        listing.written = written;
        let Some(Changes { removed, removed_directories, new }) = changed else {
            listing.directories.extend(again);
            if is_same {
                return Ok(has_changed);
            }
            has_changed = true;
            continue;
        };
        has_changed = true;
        for (directory, name) in removed {
            copy.destination.remove(directory, name)?;
        }
        for directory in removed_directories {
            copy.destination.remove_directory(&directory.path);
        }
        copy.directories(pool, &new)?;
        copy.entries(pool, &new, &Links::default())?;
        listing.directories.extend(again);
    }
    Err(SourceError::Changed { path: ".git".to_owned(), attempts: ROUNDS })
}

struct Changes<'a> {
    /// Files of the copy that are gone or out of date.
    removed: Vec<Key<'a>>,
    /// Those below before those above.
    removed_directories: Vec<&'a Directory>,
    /// What is to be copied.
    new: Vec<Directory>,
}

/// What is different between two listings. `None` if nothing is.
fn changed<'a>(old: &'a [Directory], again: &[Directory]) -> Option<Changes<'a>> {
    if is_same(old, again) {
        return None;
    }
    let (before, after) = (stamps(old), stamps(again));
    let removed: Vec<_> = before
        .iter()
        .filter(|(key, stamp)| !after.get(*key).is_some_and(|after| after.is_same_content(stamp)))
        .map(|(key, _)| *key)
        .collect();
    let known: HashSet<_> = again.iter().map(|directory| &directory.path).collect();
    let mut removed_directories: Vec<_> =
        old.iter().filter(|directory| !known.contains(&directory.path)).collect();
    removed_directories.sort_by(|one, other| other.path.cmp(&one.path));
    let known: HashSet<_> = old.iter().map(|directory| &directory.path).collect();
    let mut new = Vec::new();
    for directory in again {
        let mut entries = directory.entries.clone();
        entries.retain(|entry| {
            let before = before.get(&(&directory.path, &entry.name));
            !before.is_some_and(|before| before.is_same_content(&entry.stamp))
        });
        if !entries.is_empty() || !known.contains(&directory.path) {
            let (path, from) = (directory.path.clone(), directory.from.clone());
            new.push(Directory { path, stamp: directory.stamp, entries, from });
        }
    }
    let is_same = removed.is_empty() && removed_directories.is_empty() && new.is_empty();
    (!is_same).then_some(Changes { removed, removed_directories, new })
}

/// Whether two listings have the same files in the same order, which is what most are.
fn is_same(old: &[Directory], again: &[Directory]) -> bool {
    let is_same_entry = |(one, other): (&Entry, &Entry)| {
        one.name == other.name && one.stamp.is_same_content(&other.stamp)
    };
    let is_same_directory = |(one, other): (&Directory, &Directory)| {
        one.path == other.path
            && one.entries.len() == other.entries.len()
            && one.entries.iter().zip(&other.entries).all(is_same_entry)
    };
    old.len() == again.len() && old.iter().zip(again).all(is_same_directory)
}

/// The stamp of each file. Of several with one path the first is copied.
fn stamps(directories: &[Directory]) -> HashMap<Key<'_>, Stamp> {
    let mut stamps = HashMap::new();
    for directory in directories {
        for entry in &directory.entries {
            stamps.entry((&directory.path, &entry.name)).or_insert(entry.stamp);
        }
    }
    stamps
}
