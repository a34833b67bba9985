//! From an archive to a tree.
//!
//! Each directory is opened from its parent's handle by one name, without following links, and files are
//! created exclusively in it. So a path leads nowhere but below the root, whatever was made of it before.
//! Where a symbolic link leads is asked of the kernel (`openat2`, `RESOLVE_BENEATH`) when everything is
//! there.

mod layout;
mod place;
mod tally;
pub mod validate;
pub mod verify;
mod writer;

use std::path::Path;
use std::thread;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, fchmod, futimens, linkat, statat};

use self::layout::{Accepted, AcceptedKind, Layout};
use self::place::Places;
use self::writer::{NewFile, NewLink, Owner, Writers, attributes, error_of, times};
use crate::compression::Compression;
use crate::error::UnpackError;
use crate::flow::control::{Control, Stage};
use crate::notices::Notices;
use crate::options::UnpackOptions;
use crate::read::copies::Copies;
use crate::read::decompress::stream;
use crate::read::members::Members;
use crate::read::rules::Taken;
use crate::stream::Source;
use crate::tree::file_index::{FileIndex, PathKey, path_key, stamp};
use crate::tree::stat::Meta;
use crate::tree::walk::mode;
use crate::tree::xattr::Xattr;
use crate::unpacked::Unpacked;

/// Unpacks into `root`, which is an empty directory.
///
/// After an error a part of the tree may be there, for the caller to remove; nothing outside of the
/// root was touched.
pub fn unpack(
    source: &mut dyn Source,
    compression: Compression,
    root: &Path,
    options: &UnpackOptions,
    control: &Control,
) -> Result<Unpacked, UnpackError> {
    stream(source, compression, options, control, |content| {
        let mut members = Members::new(content);
        let control = members.control().clone();
        let unpacked = thread::scope(|scope| {
            // However this ends, the writers do not go on.
            let _stop = control.stop_on_drop();
            let places = Places::new(root, control.clone())?;
            let layout = Layout::new(options);
            let threads = options.budget.threads();
            let writers = Writers::start(scope, threads, &layout.tally, &control);
            let failed = writers.failed();
            members.before_wait(writers.announcer());
            let mut tree = Tree::new(places, writers, layout, control.clone());
            let unpack = || {
                while let Some(member) = members.next()? {
                    if let Some(entry) = tree.layout.accept(member, &mut members)? {
                        tree.add(entry, &mut members)?;
                    }
                }
                tree.finish(&mut members)
            };
            unpack().map_err(|error| match error {
                // Whoever stopped everything says why.
                UnpackError::Stopped => error_of(&failed).unwrap_or(error),
                error => error,
            })
        })?;
        Ok(Unpacked { compressed_bytes: content.read(), ..unpacked })
    })
}

/// The permissions of a directory that the archive does not describe.
const IMPLIED: u32 = 0o755;

/// Files up to this size are handed to a writer as a whole.
const SMALL: u64 = 1 << 20;

/// More further names of files than this are not waited with.
const MAX_HARDLINKS: usize = 4096;

/// How much of them is copied at most, in bytes.
const COPIES: usize = 8 << 20;

struct Tree<'a, 'scope> {
    places: Places,
    writers: Writers<'scope>,
    layout: Layout<'a>,
    control: Control,
    copies: Copies,
    /// Attributes of directories, which are set when nothing more is put into them.
    directories: Vec<(Vec<u8>, Meta, Vec<Xattr>)>,
    /// Directories that the archive puts something into and does not describe.
    implied: Vec<Vec<u8>>,
    /// Path and target of further names of files, which are made when the files are there.
    hardlinks: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of these paths.
    hardlink_bytes: usize,
    /// Files that have got further names.
    linked: Vec<Vec<u8>>,
    file_index: FileIndex,
}

impl<'a, 'scope> Tree<'a, 'scope> {
    fn new(places: Places, writers: Writers<'scope>, layout: Layout<'a>, control: Control) -> Self {
        Self {
            places,
            writers,
            layout,
            control,
            copies: Copies::default(),
            directories: Vec::new(),
            // The root, unless the archive describes it.
            implied: vec![Vec::new()],
            hardlinks: Vec::new(),
            hardlink_bytes: 0,
            linked: Vec::new(),
            file_index: FileIndex::default(),
        }
    }

    fn add(&mut self, entry: Accepted, members: &mut Members<'_, '_>) -> Result<(), UnpackError> {
        let Accepted { path, key, kind, meta, xattrs, above, replaces } = entry;
        for directory in above {
            self.places.make(&directory)?;
            self.implied.push(directory);
        }
        if let Some(taken) = replaces {
            // Whatever was to be done before is done before.
            self.settle()?;
            self.places.clear(&path, taken)?;
        }
        match kind {
            AcceptedKind::Directory { is_new } => {
                if is_new {
                    self.places.make(&path)?;
                }
                self.directories.push((path, meta, xattrs));
                Ok(())
            }
            AcceptedKind::Symlink(target) => {
                let place = self.places.place(&path)?;
                self.writers.link(NewLink { path, place, target, meta, xattrs })
            }
            AcceptedKind::Hardlink(target) => {
                self.hardlink_bytes += path.len() + target.len();
                self.hardlinks.push((path, target));
                let few = self.hardlinks.len() < MAX_HARDLINKS;
                if few && self.hardlink_bytes < COPIES { Ok(()) } else { self.settle() }
            }
            AcceptedKind::File { number, size, extents } => {
                let place = self.places.place(&path)?;
                let file = NewFile { path, key, number, place, meta, xattrs, size, extents };
                self.content(file, members)
            }
        }
    }

    fn content(&mut self, file: NewFile, members: &mut Members<'_, '_>) -> Result<(), UnpackError> {
        if file.size <= SMALL && file.extents.is_none() {
            // What is copied is not part of the budget.
            if self.copies.bytes() + SMALL as usize > COPIES {
                self.writers.settle()?;
            }
            let content = members.whole(file.size as usize, &self.copies)?;
            return self.writers.file(file, content);
        }
        let open = self.writers.open(file)?;
        loop {
            let data = members.data()?;
            if data.is_empty() {
                return self.writers.end(open);
            }
            self.writers.data(&open, data)?;
        }
    }

    /// Waits until everything so far is there, further names of files included.
    fn settle(&mut self) -> Result<(), UnpackError> {
        self.writers.settle()?;
        self.hardlink_bytes = 0;
        for (path, target) in std::mem::take(&mut self.hardlinks) {
            let from = self.places.place(&target)?;
            let to = self.places.place(&path)?;
            let _writing = self.control.enter(Stage::Write);
            // Without following links: the target is the file that this archive has put there.
            linkat(&from.directory, &from.name, &to.directory, &to.name, AtFlags::empty())
                .map_err(|errno| UnpackError::io(&path, errno))?;
            if self.linked.last() != Some(&target) {
                self.linked.push(target);
            }
        }
        Ok(())
    }

    /// How the files are now that have got further names.
    fn relinked(&mut self) -> Result<Vec<(PathKey, u64)>, UnpackError> {
        let mut relinked = Vec::new();
        for path in std::mem::take(&mut self.linked) {
            let place = self.places.place(&path)?;
            let _writing = self.control.enter(Stage::Write);
            let stat = statat(&place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| UnpackError::io(&path, errno))?;
            let key = path_key(&path);
            relinked.push((key, stamp(key, &stat)));
        }
        Ok(relinked)
    }

    /// Gives directories their attributes, the deepest ones first: a directory that may not be entered
    /// keeps nothing from being done in it.
    fn close_directories(&mut self, notices: &mut Notices) -> Result<(), UnpackError> {
        let owner = Owner::current();
        for path in std::mem::take(&mut self.implied).into_iter().rev() {
            if self.layout.taken(&path) == Some(Taken::Directory) {
                let directory = self.places.directory(&path)?;
                let _writing = self.control.enter(Stage::Write);
                if path.is_empty() && !owner.has(directory.as_fd()) {
                    continue;
                }
                owner
                    .take(directory.as_fd())
                    .and_then(|()| fchmod(&directory, mode(IMPLIED)))
                    .map_err(|errno| UnpackError::io(&path, errno))?;
            }
        }
        let mut directories = std::mem::take(&mut self.directories);
        // The last of several entries for one directory counts.
        directories.reverse();
        directories.sort_by(|a, b| b.0.cmp(&a.0));
        directories.dedup_by(|later, kept| later.0 == kept.0);
        for (path, meta, xattrs) in directories {
            if self.layout.taken(&path) == Some(Taken::Directory) {
                let directory = self.places.directory(&path)?;
                let _writing = self.control.enter(Stage::Write);
                owner
                    .take(directory.as_fd())
                    .and_then(|()| {
                        attributes(directory.as_fd(), &meta, &xattrs, owner, &path, notices)
                    })
                    .and_then(|()| fchmod(&directory, mode(meta.mode)))
                    .and_then(|()| futimens(&directory, &times(meta.mtime)))
                    .map_err(|errno| UnpackError::io(&path, errno))?;
            }
        }
        Ok(())
    }

    fn finish(mut self, members: &mut Members<'_, '_>) -> Result<Unpacked, UnpackError> {
        self.settle()?;
        let relinked = self.relinked()?;
        let mut notices = Notices::default();
        self.close_directories(&mut notices)?;
        for done in self.writers.finish()? {
            for file in done.files.into_iter().filter(|file| !file.has_xattrs) {
                self.file_index.add(file.key, file.stamp, file.content);
            }
            notices.append(done.notices);
        }
        for (key, stamp) in relinked {
            self.file_index.restamp(key, stamp);
        }
        self.layout.notices.append(notices);
        let unpacked = self.layout.finish(members)?;
        Ok(Unpacked { file_index: self.file_index, ..unpacked })
    }
}
