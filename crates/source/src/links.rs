//! Files that have several names in a listing.

use std::collections::{HashMap, HashSet};

use super::listing::{Directory, Entry, Kind};

/// A directory's number in a listing, and an entry's in the directory.
pub type Place = (usize, usize);

/// Files that have several names in a listing: the place of the first, and of all others.
#[derive(Default)]
pub struct Links {
    first: HashMap<(u64, u64), Place>,
    others: HashSet<Place>,
    /// Files with more than one name in the listing.
    several: HashSet<(u64, u64)>,
}

impl Links {
    pub fn of(directories: &[Directory]) -> Self {
        let mut links = Self::default();
        for (number, directory) in directories.iter().enumerate() {
            for (at, entry) in directory.entries.iter().enumerate() {
                if entry.kind == Kind::File && entry.stamp.links > 1 {
                    let place = (number, at);
                    let first = *links.first.entry(entry.identity()).or_insert(place);
                    if first != place {
                        links.others.insert(place);
                        links.several.insert(entry.identity());
                    }
                }
            }
        }
        links
    }

    /// Whether the entry is a further name of a file.
    pub fn is_other(&self, place: Place) -> bool {
        !self.others.is_empty() && self.others.contains(&place)
    }

    /// Whether the entry is one of several names of a file.
    pub fn is_one_of_several(&self, entry: &Entry) -> bool {
        entry.stamp.links > 1 && self.several.contains(&entry.identity())
    }

    /// All further names, in the order of the listing.
    pub fn others(&self) -> Vec<Place> {
        let mut others: Vec<_> = self.others.iter().copied().collect();
        others.sort_unstable();
        others
    }

    /// The place of the first name of a file that has several links.
    pub fn first(&self, entry: &Entry) -> Option<Place> {
        self.first.get(&entry.identity()).copied()
    }
}

impl Entry {
    pub(crate) fn identity(&self) -> (u64, u64) {
        (self.stamp.device, self.stamp.inode)
    }
}
