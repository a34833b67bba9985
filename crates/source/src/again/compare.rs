//! What of a tree is still what an index says, and equal to a listing. Nothing is changed by this.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, fstat, statat};
use rustix::io::Errno;

use super::format::{Block, Identity, Index, Item};
use super::plan::{Target, Targets, bytes};
use super::stop::Stop;
use super::trust::is_plain;
use crate::destination::KEPT;
use crate::error::shown;
use crate::handle::{names, open_below};
use crate::links::Links;
use crate::listing::{Entry, Stamp};
use crate::made::Own;

/// What has to happen to a directory of the tree.
#[derive(Debug)]
pub enum State {
    /// Nothing.
    Same {
        /// How many files and links stay.
        files: u64,
        /// Whether nothing has been made or removed in it, not even for a while.
        is_untouched: bool,
    },
    Changed(Change),
    /// It is made anew, with all in it. What is in its place is removed.
    New,
}

#[derive(Debug, Default)]
pub struct Change {
    /// What is removed, and whether that is a directory.
    pub removed: Vec<(OsString, bool)>,
    /// The names of what is copied.
    pub copied: HashSet<OsString>,
    /// How many files and links stay.
    pub files: u64,
}

pub struct Comparison<'a> {
    pub root: &'a OwnedFd,
    pub index: &'a Index<'a>,
    pub targets: &'a Targets<'a>,
    pub links: &'a Links,
}

impl Comparison<'_> {
    pub fn directory(&self, target: &Target<'_>) -> Result<State, Stop> {
        let failed = |errno: Errno| Stop::at(target.path, errno);
        let Some(block) = self.index.directories.get(target.path) else { return Ok(State::New) };
        let directory = match open_below(self.root, target.path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {
                return Ok(State::New);
            }
            Err(errno) => return Err(failed(errno)),
        };
        let stat = fstat(&directory).map_err(failed)?;
        let (stamp, own) = (Stamp::of(&stat), Own::of(&stat));
        if stamp.device != self.index.root.device {
            return Err(Stop::Unusable(format!(
                "something is mounted at `{}`",
                shown(target.path)
            )));
        }
        let is_root = target.path.as_os_str().is_empty();
        let is_same_directory =
            (own.inode, own.user, own.group) == (block.own.inode, block.own.user, block.own.group);
        let is_untouched = own == block.own;
        if !is_same_directory || !is_untouched && !is_plain(&directory) {
            return match is_root {
                true => Err(Stop::Unusable("its directory is another one than was filled".into())),
                false => Ok(State::New),
            };
        }
        let found = match is_untouched && block.is_complete {
            true => None,
            false => match names(&directory) {
                Ok(names) => Some(names),
                Err(Errno::ACCESS) => return Ok(State::New),
                Err(errno) => return Err(failed(errno)),
            },
        };
        let change = self.entries(target, block, &directory, found.as_deref())?;
        let wanted = target.sources[0].stamp;
        let is_right = is_root && own.mode == block.own.mode
            || !is_root
                && own.mode & 0o7777 == wanted.mode & KEPT
                && stamp.modified == wanted.modified;
        let is_same = change.removed.is_empty() && change.copied.is_empty() && is_right;
        Ok(match is_same {
            true => State::Same { files: change.files, is_untouched },
            false => State::Changed(change),
        })
    }

    /// Compares entries. If the directory is as it was made, its names are those of the index.
    fn entries(
        &self,
        target: &Target<'_>,
        block: &Block<'_>,
        directory: &OwnedFd,
        found: Option<&[(OsString, FileType)]>,
    ) -> Result<Change, Stop> {
        let mut change = Change::default();
        let mut items = block.items().peekable();
        let mut found = found.map(|found| found.iter().peekable());
        let merged = target.sources.len() > 1;
        let sorted = if merged { target.entries() } else { Vec::new() };
        let single = if merged { &[] } else { &*target.sources[0].entries };
        for entry in sorted.into_iter().chain(single) {
            // What comes before it does not belong here.
            while let Some(item) = items.next_if(|item| is_before(item.name, &entry.name)) {
                if found.is_none() {
                    change.removed.push((item.name.to_owned(), false));
                }
            }
            let item = items.next_if(|item| item.name == entry.name);
            let is_there = match &mut found {
                None => item.is_some(),
                Some(found) => {
                    while let Some((name, kind)) =
                        found.next_if(|(name, _)| is_before(name, &entry.name))
                    {
                        self.unwanted(target, &mut change, name, *kind);
                    }
                    found.next_if(|(name, _)| *name == entry.name).is_some()
                }
            };
            if let Some(item) = item
                && is_there
                && self.is_equal(target, block, entry, &item, directory)?
            {
                change.files += 1;
                continue;
            }
            if is_there {
                // Whatever it is now.
                change.removed.push((entry.name.clone(), false));
            }
            change.copied.insert(entry.name.clone());
        }
        match found {
            None => change.removed.extend(items.map(|item| (item.name.to_owned(), false))),
            Some(found) => {
                found.for_each(|(name, kind)| self.unwanted(target, &mut change, name, *kind));
            }
        }
        Ok(change)
    }

    /// Notes what is not among the entries of a directory.
    fn unwanted(&self, target: &Target<'_>, change: &mut Change, name: &OsStr, kind: FileType) {
        let is_directory = kind == FileType::Directory;
        // Its own state says what happens to a directory of the listing, also if it is none any more.
        let is_wanted = self.targets.by_path.contains_key(&*target.path.join(name));
        if !is_wanted {
            change.removed.push((name.to_owned(), is_directory));
        }
    }

    /// Whether the file of the project and its copy both are what the index says.
    fn is_equal(
        &self,
        target: &Target<'_>,
        block: &Block<'_>,
        entry: &Entry,
        item: &Item<'_>,
        directory: &OwnedFd,
    ) -> Result<bool, Stop> {
        let is_same_source = item.source == Identity::of(&entry.stamp)
            && entry.stamp.device == block.device
            && target.device == Some(block.device)
            && !self.links.is_one_of_several(entry);
        if !is_same_source {
            return Ok(false);
        }
        let stat = match statat(directory, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(false),
            Err(errno) => return Err(Stop::at(target.path, errno)),
        };
        let stamp = Stamp::of(&stat);
        Ok(Own::of(&stat) == item.own
            && stamp.device == self.index.root.device
            && stamp.links == 1
            && (stamp.size, stamp.modified) == (item.source.size, item.source.modified))
    }
}

fn is_before(one: &OsStr, other: &OsStr) -> bool {
    bytes(one).cmp(bytes(other)) == Ordering::Less
}
