//! A listing by the directories of the copy.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::fstat;

use super::trust::tells_changes;
use crate::listing::{Directory, Entry, Listing, Stamp};

/// A directory of the copy, and what belongs into it.
pub struct Target<'a> {
    pub path: &'a Path,
    /// The directories that are brought together in it, most often one.
    pub sources: Vec<&'a Directory>,
    /// Whether it is part of a repository.
    pub is_git: bool,
    /// Whether a file without an equal in the project belongs into it.
    pub has_written: bool,
    /// Of the project's directory, if that tells of changes.
    pub device: Option<u64>,
}

/// All directories of a copy, those above before those below.
pub struct Targets<'a> {
    pub all: Vec<Target<'a>>,
    pub by_path: HashMap<&'a Path, usize>,
}

impl<'a> Targets<'a> {
    pub fn of(listing: &'a Listing) -> Self {
        let mut order: Vec<usize> = (0..listing.directories.len()).collect();
        order.sort_by(|one, other| {
            listing.directories[*one].path.cmp(&listing.directories[*other].path)
        });
        let written: HashSet<&Path> =
            listing.written.iter().filter_map(|(path, _)| path.parent()).collect();
        let mut devices = HashMap::new();
        let mut all: Vec<Target<'a>> = Vec::with_capacity(order.len());
        for number in order {
            let directory = &listing.directories[number];
            if let Some(last) = all.last_mut().filter(|last| last.path == directory.path) {
                last.sources.push(directory);
                // Nobody could say which of their devices it is.
                last.device = None;
                continue;
            }
            let root = &directory.from.root;
            let device = *devices.entry(Arc::as_ptr(root)).or_insert_with(|| {
                let stat = fstat(root).ok().filter(|_| tells_changes(root));
                stat.map(|stat| Stamp::of(&stat).device)
            });
            all.push(Target {
                path: &directory.path,
                sources: vec![directory],
                is_git: number >= listing.repositories_at && !listing.repositories.is_empty(),
                has_written: written.contains(&*directory.path),
                device: device.filter(|device| *device == directory.stamp.device),
            });
        }
        let by_path = all.iter().enumerate().map(|(at, target)| (target.path, at)).collect();
        Self { all, by_path }
    }

    /// The number of the directory that holds another one.
    pub fn above(&self, path: &Path) -> Option<usize> {
        self.by_path.get(path.parent()?).copied()
    }
}

impl<'a> Target<'a> {
    /// The entries in the order of their names. Of several with one name the first counts.
    pub fn entries(&self) -> Vec<&'a Entry> {
        let entries = self.sources.iter().flat_map(|directory| &directory.entries);
        let mut entries: Vec<&Entry> = entries.collect();
        if self.sources.len() > 1 {
            entries.sort_by(|one, other| bytes(&one.name).cmp(bytes(&other.name)));
            entries.dedup_by(|later, first| later.name == first.name);
        }
        entries
    }
}

pub fn bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}
