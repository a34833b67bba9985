//! From an archive to a tree.
//!
//! Each directory is opened from its parent's handle by one name, without following links, and files are
//! created exclusively in it. So a path leads nowhere but below the root, whatever was made of it before.
//! Where a symbolic link leads is asked of the kernel (`openat2`, `RESOLVE_BENEATH`) when everything is
//! there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, fchmod, futimens, linkat, statat};

use super::content::pass;
use super::control::{Control, Stage, Stopped, Wake};
use super::copies::Copies;
use super::decompress::stream;
use super::file_index::{FileIndex, PathKey, TreeDigest, path_key, stamp};
use super::layout::{Accepted, AcceptedKind, Layout};
use super::member::Members;
use super::notices::Notices;
use super::place::{Places, Taken, io as io_error};
use super::stat::Meta;
use super::trailer::Trailer;
use super::walk::mode;
use super::writer::{NewFile, NewLink, Owner, Writers, attributes, error_of, times};
use super::xattr::Xattr;
use super::{Compression, UnpackOptions};

/// Where an archive comes from.
pub trait Source: Send {
    /// The next part, of any size; `None` at the end. The end has to be the true one: an error is not
    /// an end.
    fn next(&mut self) -> io::Result<Option<Bytes>>;

    /// How many bytes all parts have together, if that is known. If it is not, the content is compared with
    /// what was read so far, which may be too little for an archive that is larger at its end.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Makes a `next` that waits in another thread return an error soon.
    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        None
    }
}

/// An archive that was unpacked or verified to its end.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// What is there now.
    pub file_index: FileIndex,
    /// Of the tree, from the content that was read.
    pub digest: Option<TreeDigest>,
    /// What the archive says of itself. It is what was read.
    pub trailer: Option<Trailer>,
    /// Of all types, without the root.
    pub entries: u64,
    /// Of the content of all files.
    pub bytes: u64,
    /// Of the archive.
    pub compressed_bytes: u64,
    /// What was left out and why, for people.
    pub notices: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The source could not be read to its end.
    #[error("{0}")]
    Source(#[source] io::Error),
    /// It is no archive, or a part of one.
    #[error("the archive is corrupt: {0}")]
    Corrupt(String),
    /// It may be good, and takes more than this version can do. Says what to do about it.
    #[error("the archive is not supported: {0}")]
    Unsupported(String),
    /// It was read to its end and is another one than was packed.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// The first entry that no archive may have, unless it is so by a setting or for this user.
    #[error("the archive is refused for `{path}`: {reason}")]
    Refused { path: String, reason: String, by_setting: bool },
    /// More than the settings allow.
    #[error("the archive is refused: {0}")]
    Limit(String),
    #[error("cannot create `{path}`: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    /// Whoever was to get it did not take it.
    #[error("cannot hand the archive on: {0}")]
    Sink(#[source] io::Error),
    #[error("unpacking was stopped")]
    Stopped,
    /// A thread panicked, or could not be started.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<Stopped> for UnpackError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl UnpackError {
    /// Whether the archive itself is wrong, whoever reads it by whatever settings. Anything else may be
    /// different at another time, elsewhere or with another program, and the archive as good as it was.
    pub fn is_of_archive(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Damaged(_) => true,
            Self::Refused { by_setting, .. } => !by_setting,
            Self::Source(_)
            | Self::Unsupported(_)
            | Self::Limit(_)
            | Self::Io { .. }
            | Self::Sink(_)
            | Self::Stopped
            | Self::Internal(_) => false,
        }
    }
}

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

/// Reads all of an archive as [`unpack`] does, and refuses what that would refuse.
pub fn verify(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    control: &Control,
) -> Result<Unpacked, UnpackError> {
    stream(source, compression, options, control, |content| {
        let mut members = Members::new(content);
        let mut layout = Layout::new(options);
        while let Some(member) = members.next()? {
            let Some(entry) = layout.accept(member, &mut members)? else { continue };
            if let AcceptedKind::File { number, size, extents } = entry.kind {
                let mut nowhere = |_| Ok::<_, UnpackError>(());
                let passed = pass(&mut members, size, extents.as_deref(), &mut nowhere)?;
                layout.tally.content(number, passed.hash);
            }
        }
        let verified = layout.finish(&mut members)?;
        Ok(Unpacked { compressed_bytes: content.read(), ..verified })
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
                .map_err(|errno| io_error(&path, errno))?;
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
                .map_err(|errno| io_error(&path, errno))?;
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
                    .map_err(|errno| io_error(&path, errno))?;
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
                    .map_err(|errno| io_error(&path, errno))?;
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
