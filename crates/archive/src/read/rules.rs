//! What an archive may hold: which entries beside which, and how many of them.
//!
//! Whoever makes an archive of another one obeys them as whoever unpacks it does, so that what was made
//! can be unpacked.

use std::collections::{HashMap, HashSet};

use super::member::{Member, MemberKind};
use crate::error::UnpackError;
use crate::options::{OutsideLinks, UnpackOptions};
use crate::path::{below_root, goes_up, shown, split};
use crate::tree::file_index::{PathKey, path_key};
use crate::tree::kept::Kept;
use crate::tree::policy::{outside_by_way, refused_link};
use crate::tree::walk::MAX_DEPTH;
use crate::tree::xattr::Xattr;

/// The longest target of a symbolic link on Linux, in bytes.
const MAX_TARGET: usize = 4095;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    File,
    Directory,
    Link,
}

pub struct Rules {
    outside_links: OutsideLinks,
    /// Most entries, without the root.
    most: u64,
    taken: HashMap<PathKey, Taken>,
    /// Directories that something was put into.
    filled: HashSet<PathKey>,
    /// The last one of these.
    last_filled: Vec<u8>,
    /// The targets of symbolic links.
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// Symbolic links that may lead out of the tree through other ones.
    upward: Vec<Vec<u8>>,
    kept: Kept,
}

/// Where an entry goes.
pub struct Placed {
    pub key: PathKey,
    /// Directories above the entry that no member has described, from the top down.
    pub above: Vec<Vec<u8>>,
    /// What the entry takes the place of.
    pub replaces: Option<Taken>,
    /// Whether it is one more entry: not the root, and no directory that is there.
    pub is_new: bool,
    /// The path that a hard link is another name of.
    pub target: Vec<u8>,
}

impl Rules {
    pub fn new(outside_links: OutsideLinks, most: u64) -> Self {
        Self {
            outside_links,
            most,
            taken: HashMap::new(),
            filled: HashSet::new(),
            last_filled: Vec::new(),
            links: HashMap::new(),
            upward: Vec::new(),
            kept: Kept::default(),
        }
    }

    /// Adds an entry; `None` if there is nothing to be done for it. The path is one below the root.
    pub fn place(
        &mut self,
        path: &[u8],
        kind: &MemberKind,
        xattrs: &[Xattr],
    ) -> Result<Option<Placed>, UnpackError> {
        let is_directory = matches!(kind, MemberKind::Directory);
        if is_directory {
            self.kept.directory(path, xattrs).map_err(UnpackError::Limit)?;
        }
        let key = path_key(path);
        let mut placed =
            Placed { key, above: Vec::new(), replaces: None, is_new: false, target: Vec::new() };
        if path.is_empty() {
            return Ok(Some(placed));
        }
        placed.above = self.above(path)?;
        placed.replaces = self.taken.get(&key).copied();
        match (kind, placed.replaces) {
            (_, None) => {}
            (MemberKind::Directory, Some(Taken::Directory)) => {
                placed.replaces = None;
                return Ok(Some(placed));
            }
            (_, Some(Taken::Directory)) if self.filled.contains(&key) => {
                let reason = "it takes the place of a directory that is not empty";
                return Err(UnpackError::refused(path, reason));
            }
            // A second entry for a file with one name, as GNU tar packs what it was given twice.
            (MemberKind::Hardlink(target), Some(Taken::File | Taken::Link))
                if below_root(target).is_ok_and(|target| target == path) =>
            {
                return Ok(None);
            }
            // The last entry of a name counts.
            (_, Some(taken)) => {
                self.taken.remove(&key);
                if taken == Taken::Link {
                    self.links.remove(path);
                }
            }
        }
        placed.is_new = true;
        match kind {
            MemberKind::Symlink(target) => self.symlink(key, path, target)?,
            MemberKind::Hardlink(target) => {
                placed.target =
                    below_root(target).map_err(|reason| UnpackError::refused(path, reason))?;
                self.hardlink(key, path, &placed.target)?;
            }
            MemberKind::Directory => self.take(key, Taken::Directory)?,
            MemberKind::File(..) | MemberKind::Fifo | MemberKind::Device => {
                self.take(key, Taken::File)?;
            }
        }
        Ok(Some(placed))
    }

    pub fn taken(&self, path: &[u8]) -> Option<Taken> {
        match path {
            b"" => Some(Taken::Directory),
            path => self.taken.get(&path_key(path)).copied(),
        }
    }

    /// Where the symbolic link at a path leads.
    pub fn link(&self, path: &[u8]) -> Option<&Vec<u8>> {
        self.links.get(path)
    }

    /// Looks at all entries together, after the last one.
    pub fn finish(&self) -> Result<(), UnpackError> {
        if self.outside_links == OutsideLinks::Refuse {
            for path in &self.upward {
                if let Some(reason) = outside_by_way(&self.links, path) {
                    return Err(UnpackError::refused_by_setting(path, reason));
                }
            }
        }
        Ok(())
    }

    fn symlink(&mut self, key: PathKey, path: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        self.take(key, Taken::Link)?;
        self.kept.symlink(path, target).map_err(UnpackError::Limit)?;
        if goes_up(target) {
            self.upward.push(path.to_vec());
        }
        self.links.insert(path.to_vec(), target.to_vec());
        Ok(())
    }

    fn hardlink(&mut self, key: PathKey, path: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        match self.taken(target) {
            Some(Taken::File) => self.take(key, Taken::File)?,
            // Another name of a symbolic link leads elsewhere if it is in another directory.
            Some(Taken::Link) => {
                let leads_to = self.links.get(target).cloned().unwrap_or_default();
                if let Some(reason) = refused_link(self.outside_links, path, &leads_to) {
                    return Err(UnpackError::refused_by_setting(path, reason));
                }
                self.symlink(key, path, &leads_to)?;
            }
            Some(Taken::Directory) | None => {
                let target = shown(target);
                let reason = format!("it is a link to `{target}`, which is no file before it");
                return Err(UnpackError::refused(path, reason));
            }
        }
        self.kept.hardlink(target).map_err(UnpackError::Limit)
    }

    fn take(&mut self, key: PathKey, by: Taken) -> Result<(), UnpackError> {
        let most = self.most;
        if self.taken.insert(key, by).is_none() && self.taken.len() as u64 > most {
            return Err(UnpackError::Limit(format!(
                "it holds more than {most} entries, allow more with `cache_max_entries`"
            )));
        }
        Ok(())
    }

    /// The directories above a path that are not there yet.
    fn above(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, UnpackError> {
        // Most entries are in the same directory as the one before. A directory that something was put into
        // stays one.
        let parent = split(path).map_or(&[][..], |(parent, _)| parent);
        if parent == self.last_filled {
            return Ok(Vec::new());
        }
        if path.iter().filter(|byte| **byte == b'/').count() >= MAX_DEPTH {
            return Err(UnpackError::Unsupported(format!(
                "`{}` is more than {MAX_DEPTH} directories deep, pack it again without that",
                shown(path)
            )));
        }
        let mut missing = Vec::new();
        let mut at = path;
        while let Some((parent, _)) = split(at).filter(|(parent, _)| !parent.is_empty()) {
            let is_known = !self.filled.insert(path_key(parent));
            let what = match self.taken(parent) {
                Some(Taken::File) => "a file",
                Some(Taken::Link) => "a link",
                Some(Taken::Directory) if is_known => break,
                Some(Taken::Directory) => {
                    at = parent;
                    continue;
                }
                None => {
                    missing.push(parent.to_vec());
                    at = parent;
                    continue;
                }
            };
            let reason = format!("something is to be put into it, and it is {what}");
            return Err(UnpackError::refused(parent, reason));
        }
        missing.reverse();
        for path in &missing {
            self.take(path_key(path), Taken::Directory)?;
            self.kept.directory(path, &[]).map_err(UnpackError::Limit)?;
        }
        self.last_filled.clear();
        self.last_filled.extend_from_slice(parent);
        Ok(missing)
    }
}

/// The path of a member that may be unpacked, as far as it alone tells.
pub fn check(member: &Member, options: &UnpackOptions) -> Result<Vec<u8>, UnpackError> {
    let path =
        below_root(&member.path).map_err(|reason| UnpackError::refused(&member.path, reason))?;
    let reason = match &member.kind {
        MemberKind::Device => return Err(device(&path)),
        MemberKind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            Some("its target is no path".to_owned())
        }
        MemberKind::Symlink(target) if target.len() > MAX_TARGET => {
            Some(format!("its target has more than {MAX_TARGET} bytes"))
        }
        MemberKind::Symlink(target) => {
            if let Some(reason) = refused_link(options.outside_links, &path, target) {
                return Err(UnpackError::refused_by_setting(&path, reason));
            }
            None
        }
        MemberKind::Hardlink(target) => match below_root(target) {
            Ok(_) => None,
            Err(reason) => Some(format!("it is a link to `{}`, and {reason}", shown(target))),
        },
        MemberKind::File(..) | MemberKind::Directory | MemberKind::Fifo => None,
    };
    match reason {
        Some(reason) => Err(UnpackError::refused(&path, reason)),
        None if path.is_empty() && !matches!(member.kind, MemberKind::Directory) => {
            Err(UnpackError::refused(&path, "it takes the place of the root"))
        }
        None => Ok(path),
    }
}

/// Of a member that nobody unpacks.
pub fn device(path: &[u8]) -> UnpackError {
    let path = shown(path);
    UnpackError::Unsupported(format!("`{path}` is a device, pack it again without that"))
}
