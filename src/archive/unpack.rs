//! From an archive to a tree.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, fchmod, futimens, linkat, statat};

use super::content::Holes;
use super::control::{Control, Stage, Stopped, Wake};
use super::copies::Copies;
use super::decompress::stream;
use super::member::{Member, MemberKind, Members};
use super::notices::Notices;
use super::path::{below_root, goes_up, shown};
use super::place::{Places, Taken, io as io_error, refused};
use super::policy::{refused_by_way, refused_link, refused_mode};
use super::snapshot::{ContentHash, PathKey, Snapshot, path_key, stamp};
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

    /// Makes a `next` that waits in another thread return an error soon.
    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        None
    }
}

/// An archive that was unpacked or verified to its end.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// What is there now.
    pub snapshot: Snapshot,
    /// What the archive says of itself.
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
    #[error("the archive is corrupt: {0}")]
    Corrupt(String),
    /// The first entry that no archive may have.
    #[error("the archive is refused for `{path}`: {reason}")]
    Refused { path: String, reason: String },
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
            let places = Places::new(root, options.limits.entries, control.clone())?;
            let writers = Writers::start(scope, options.budget.threads(), &control);
            let failed = writers.failed();
            members.before_wait(writers.announcer());
            let mut tree = Tree::new(places, writers, options, control.clone());
            let unpack = || {
                while let Some(member) = members.next()? {
                    tree.add(member, &mut members)?;
                }
                tree.finish(members.trailer())
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

/// Reads all of an archive as [`unpack`] does and checks what can be checked without a tree.
pub fn verify(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    control: &Control,
) -> Result<Unpacked, UnpackError> {
    stream(source, compression, options, control, |content| {
        let mut members = Members::new(content);
        let mut found = Unpacked::default();
        while let Some(member) = members.next()? {
            let path = check(&member, options)?;
            if found.entries == options.limits.entries {
                let limit = options.limits.entries;
                return Err(UnpackError::Limit(format!("it holds more entries than {limit}")));
            }
            found.entries += u64::from(!path.is_empty());
            if let MemberKind::File(size, _) = member.kind {
                found.bytes = added(found.bytes, size, options)?;
            }
        }
        found.compressed_bytes = content.read();
        Ok(found)
    })
}

/// The path of a member that may be unpacked, as far as it alone tells.
pub(super) fn check(member: &Member, options: &UnpackOptions) -> Result<Vec<u8>, UnpackError> {
    let path = below_root(&member.path).map_err(|reason| refused(&member.path, reason))?;
    let reason = match &member.kind {
        MemberKind::Device => Some("it is a device".to_owned()),
        MemberKind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            Some("its target is no path".to_owned())
        }
        MemberKind::Symlink(target) => refused_link(options.outside_links, &path, target),
        MemberKind::File(..) => refused_mode(member.meta.mode),
        MemberKind::Hardlink(target) => match below_root(target) {
            Ok(_) => None,
            Err(reason) => Some(format!("it is a link to `{}`, and {reason}", shown(target))),
        },
        MemberKind::Directory | MemberKind::Fifo => None,
    };
    match reason {
        Some(reason) => Err(refused(&path, reason)),
        None if path.is_empty() && !matches!(member.kind, MemberKind::Directory) => {
            Err(refused(&path, "it takes the place of the root"))
        }
        None => Ok(path),
    }
}

/// The size of all files so far and one more, which may be much more than the archive's own: a hole
/// takes no space in it, but time to read.
pub(super) fn added(bytes: u64, size: u64, options: &UnpackOptions) -> Result<u64, UnpackError> {
    let limit = options.limits.bytes;
    bytes.checked_add(size).filter(|bytes| *bytes <= limit).ok_or_else(|| {
        UnpackError::Limit(format!(
            "its files have more bytes than {limit}, allow more with `cache_max_size`"
        ))
    })
}

/// The permissions of a directory that the archive does not describe.
const IMPLIED: u32 = 0o755;

/// Files up to this size are handed to a writer as a whole.
const SMALL: u64 = 1 << 20;

/// How much of them is copied at most, in bytes.
const COPIES: usize = 8 << 20;

struct Tree<'a, 'scope> {
    places: Places,
    writers: Writers<'scope>,
    options: &'a UnpackOptions,
    control: Control,
    copies: Copies,
    /// How many regular files there were so far.
    files: usize,
    holes: Holes,
    /// Attributes of directories, which are set when nothing more is put into them.
    directories: Vec<(Vec<u8>, Meta, Vec<Xattr>)>,
    /// Path and target of further names of files, which are made when the files are there.
    hardlinks: Vec<(Vec<u8>, Vec<u8>)>,
    /// Files that have got further names.
    linked: Vec<Vec<u8>>,
    /// Links that only the file system can tell the way of.
    upward: Vec<(Vec<u8>, Vec<u8>)>,
    notices: Notices,
    unpacked: Unpacked,
}

impl<'a, 'scope> Tree<'a, 'scope> {
    fn new(
        places: Places,
        writers: Writers<'scope>,
        options: &'a UnpackOptions,
        control: Control,
    ) -> Self {
        Self {
            places,
            writers,
            options,
            control,
            copies: Copies::default(),
            files: 0,
            holes: Holes::default(),
            directories: Vec::new(),
            hardlinks: Vec::new(),
            linked: Vec::new(),
            upward: Vec::new(),
            notices: Notices::default(),
            unpacked: Unpacked::default(),
        }
    }

    fn add(&mut self, member: Member, members: &mut Members<'_, '_>) -> Result<(), UnpackError> {
        let path = check(&member, self.options)?;
        let Member { kind, meta, xattrs, .. } = member;
        if path.is_empty() {
            self.directories.push((path, meta, xattrs));
            return Ok(());
        }
        if let Some(taken) = self.places.taken(&path) {
            if taken == Taken::Directory && matches!(kind, MemberKind::Directory) {
                self.directories.push((path, meta, xattrs));
                return Ok(());
            }
            // The last one of a name counts. Whatever was to be done before is done before.
            self.settle()?;
            self.places.clear(&path, taken)?;
        }
        match kind {
            MemberKind::Directory => {
                self.places.directory(&path)?;
                self.directories.push((path, meta, xattrs));
            }
            MemberKind::Symlink(target) => {
                let place = self.places.place(&path)?;
                self.places.take(&path, Taken::Link)?;
                if goes_up(&target) {
                    self.upward.push((path.clone(), target.clone()));
                }
                self.writers.link(NewLink { path, place, target, meta, xattrs })?;
            }
            MemberKind::Hardlink(target) => {
                // Checked above.
                let target = below_root(&target).map_err(|reason| refused(&path, reason))?;
                if self.places.taken(&target) != Some(Taken::File) {
                    let target = shown(&target);
                    let reason = format!("it is a link to `{target}`, which is no file before it");
                    return Err(refused(&path, reason));
                }
                self.places.place(&path)?;
                self.places.take(&path, Taken::File)?;
                self.hardlinks.push((path, target));
            }
            MemberKind::File(size, extents) => {
                let place = self.places.place(&path)?;
                self.places.take(&path, Taken::File)?;
                let key = path_key(&path);
                let number = self.files;
                self.files += 1;
                self.unpacked.bytes = added(self.unpacked.bytes, size, self.options)?;
                let hashed = !members.announced() && self.holes.admit(size, extents.as_deref());
                self.content(
                    NewFile { path, key, number, place, meta, xattrs, size, extents, hashed },
                    members,
                )?;
            }
            MemberKind::Fifo => {
                self.notices.add(format!("`{}` is a pipe and was left out", shown(&path)));
                return Ok(());
            }
            MemberKind::Device => return Err(refused(&path, "it is a device")),
        }
        self.unpacked.entries += 1;
        Ok(())
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
    fn close_directories(&mut self, notices: &mut Vec<String>) -> Result<(), UnpackError> {
        for path in std::mem::take(&mut self.places.implied) {
            if self.places.taken(&path) == Some(Taken::Directory) {
                let directory = self.places.directory(&path)?;
                let _writing = self.control.enter(Stage::Write);
                fchmod(&directory, mode(IMPLIED)).map_err(|errno| io_error(&path, errno))?;
            }
        }
        let mut directories = std::mem::take(&mut self.directories);
        // The last of several entries for one directory counts.
        directories.reverse();
        directories.sort_by(|a, b| b.0.cmp(&a.0));
        directories.dedup_by(|later, kept| later.0 == kept.0);
        let owner = Owner::current();
        for (path, meta, xattrs) in directories {
            if self.places.taken(&path) == Some(Taken::Directory) {
                let directory = self.places.directory(&path)?;
                let _writing = self.control.enter(Stage::Write);
                attributes(directory.as_fd(), &meta, &xattrs, owner, &path, notices)
                    .and_then(|()| fchmod(&directory, mode(meta.mode)))
                    .and_then(|()| futimens(&directory, &times(meta.mtime)))
                    .map_err(|errno| io_error(&path, errno))?;
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        trailer: Option<(Trailer, Vec<ContentHash>)>,
    ) -> Result<Unpacked, UnpackError> {
        self.settle()?;
        for (path, target) in std::mem::take(&mut self.upward) {
            // Something else may be there by now.
            if self.places.taken(&path) == Some(Taken::Link) {
                let root = self.places.root().as_fd();
                let links = self.options.outside_links;
                if let Some(reason) = refused_by_way(links, root, &path, &target) {
                    return Err(refused(&path, reason));
                }
            }
        }
        let relinked = self.relinked()?;
        let mut notices = Vec::new();
        self.close_directories(&mut notices)?;
        let (trailer, hashes) = trailer.unzip();
        self.unpacked.trailer = trailer;
        // Hashes that do not belong to these files are worth nothing.
        let hashes = hashes.filter(|hashes| hashes.len() == self.files).unwrap_or_default();
        for done in self.writers.finish()? {
            for file in done.files.into_iter().filter(|file| !file.has_xattrs) {
                if let Some(content) = file.content.or_else(|| hashes.get(file.number).copied()) {
                    self.unpacked.snapshot.add(file.key, file.stamp, content);
                }
            }
            notices.extend(done.notices);
        }
        for (key, stamp) in relinked {
            self.unpacked.snapshot.restamp(key, stamp);
        }
        notices.into_iter().for_each(|notice| self.notices.add(notice));
        self.unpacked.notices = self.notices.into_vec();
        Ok(self.unpacked)
    }
}
