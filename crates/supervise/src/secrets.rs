//! Files with secrets, in memory, in the mount namespace of the task that has them.
//!
//! Their content is in a file system of its own (tmpfs) that nothing outside of the namespace sees and that is
//! gone with the namespace's last process. Each file is mounted at its place by a bind.
//!
//! A place below `/run` need not be there, and the machine's own `/run` is not touched to make it: a second file
//! system in memory takes the place of the nearest directory that is there, with everything that is in it bound
//! to where it was.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fstat, mkdirat, openat, readlinkat, statat,
    symlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::wire::{Credentials, Failure, Launch, SecretFile};

/// The directory that places of secrets may be below, beside the task's own.
pub const RUN: &str = "/run";

/// The most entries of a directory that is replaced. Each of them is a mount.
const MOST_ENTRIES: usize = 4096;

/// Room for what a file takes beside its content, in bytes.
const PER_FILE: usize = 16 << 10;

/// Makes the files, in the mount namespace of this process.
pub fn place(launch: &Launch) -> Result<(), Failure> {
    if launch.secrets.is_empty() {
        return Ok(());
    }
    let memory = Path::new(&launch.secrets_at);
    let size: usize = launch.secrets.iter().map(|secret| secret.content.len() + PER_FILE).sum();
    mount_memory(memory, &format!("mode=0700,size={size}")).map_err(refused)?;
    let mut places = Places::default();
    for (index, secret) in launch.secrets.iter().enumerate() {
        let content = memory.join(index.to_string());
        let placed = write(&content, secret, launch.credentials.as_ref())
            .and_then(|()| places.bind(&content, secret, Path::new(&launch.mounts_at)));
        placed.map_err(|error| {
            let target = &secret.target;
            Failure::Start(format!("cannot make `{target}` for a file with a secret: {error}"))
        })?;
    }
    Ok(())
}

fn refused(error: io::Error) -> Failure {
    let text = format!("cannot mount a file system for secrets: {error}");
    match error.kind() {
        // Some systems allow the namespaces but take their rights away.
        io::ErrorKind::PermissionDenied => Failure::NoMounts(text),
        _ => Failure::Start(text),
    }
}

fn mount_memory(at: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options))?)
}

/// Writes a file that its owner can read.
fn write(path: &Path, secret: &SecretFile, owner: Option<&Credentials>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(&secret.content)?;
    match owner {
        Some(owner) => fchown(&file, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

/// Where files are mounted.
#[derive(Default)]
struct Places {
    /// Directories that are in memory, in which files can be made.
    made: HashSet<PathBuf>,
}

impl Places {
    fn bind(&mut self, content: &Path, secret: &SecretFile, base: &Path) -> io::Result<()> {
        let target = Path::new(&secret.target);
        let point = match target.strip_prefix(RUN) {
            Ok(below) => self.point(below)?,
            Err(_) => file_at(walk(base, target.parent().unwrap_or(target))?.as_fd(), target)?,
        };
        let content = openat(CWD, content, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        bind(content.as_fd(), point.as_fd(), MsFlags::empty())
    }

    /// A file to mount on, which is there or is made in memory.
    fn point(&mut self, below: &Path) -> io::Result<OwnedFd> {
        let target = Path::new(RUN).join(below);
        let parent = target.parent().unwrap_or(&target);
        let mut existing = parent;
        let at = loop {
            match walk(Path::new("/"), existing.strip_prefix("/").unwrap_or(existing)) {
                Ok(directory) => break directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    existing = existing.parent().unwrap_or(Path::new(RUN));
                }
                Err(error) => return Err(error),
            }
        };
        if existing == parent {
            match file_at(at.as_fd(), &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        if existing == Path::new("/") {
            return Err(io::Error::other(format!("there is no `{RUN}` on this machine")));
        }
        if !self.made.contains(existing) {
            replace(existing)?;
            self.made.insert(existing.to_owned());
        }
        let mut at = walk(Path::new("/"), existing.strip_prefix("/").unwrap_or(existing))?;
        let mut path = existing.to_owned();
        for name in parent.strip_prefix(existing).into_iter().flatten() {
            mkdirat(&at, name, Mode::from(0o755))?;
            // The mask of this process may have taken something away.
            chmodat(&at, name, Mode::from(0o755), AtFlags::empty())?;
            at = directory_at(at.as_fd(), name.as_ref())?;
            path.push(name);
            self.made.insert(path.clone());
        }
        make_file(at.as_fd(), &target)?;
        file_at(at.as_fd(), &target)
    }
}

/// Puts a file system in memory in the place of a directory, with the same entries.
fn replace(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let old = openat(CWD, path, flags, Mode::empty())?;
    let found = fstat(&old)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&old)? {
        let entry = entry?;
        if ![&b"."[..], b".."].contains(&entry.file_name().to_bytes()) {
            entries.push(entry.file_name().to_owned());
        }
    }
    if entries.len() > MOST_ENTRIES {
        let text = format!("`{}` has more than {MOST_ENTRIES} entries", path.display());
        return Err(io::Error::other(text));
    }
    mount_memory(path, &format!("mode={:o}", found.st_mode & 0o7777))?;
    // The descriptor from before is below the mount.
    let new = openat(CWD, path, flags, Mode::empty())?;
    if geteuid().is_root() {
        // A user's own directory stays that user's.
        fchown(&new, Some(found.st_uid), Some(found.st_gid))?;
    }
    for name in entries {
        let name = name.as_c_str();
        let entry = match statat(&old, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It is gone since.
            Err(Errno::NOENT) => continue,
            entry => entry?,
        };
        let kind = FileType::from_raw_mode(entry.st_mode);
        if kind == FileType::Symlink {
            symlinkat(readlinkat(&old, name, Vec::new())?, &new, name)?;
            continue;
        }
        let by_path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = match openat(&old, name, by_path, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            source => source?,
        };
        if kind == FileType::Directory {
            mkdirat(&new, name, Mode::from(0o755))?;
        } else {
            openat(
                &new,
                name,
                OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::from(0o600),
            )?;
        }
        let target = openat(&new, name, by_path, Mode::empty())?;
        // A user namespace may not show what is below a mount of somebody else's.
        bind(source.as_fd(), target.as_fd(), MsFlags::MS_REC)?;
    }
    Ok(())
}

fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, flags: MsFlags) -> io::Result<()> {
    // By descriptor, so that what was opened is what is mounted.
    let by_descriptor = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (source, target) = (by_descriptor(source), by_descriptor(target));
    mount(Some(&*source), &*target, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)
        .map_err(io::Error::from)
}

/// Opens a directory below another one without following a link on the way.
fn walk(base: &Path, below: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, base, flags, Mode::empty())?;
    for name in below {
        at = directory_at(at.as_fd(), name.as_ref())?;
    }
    Ok(at)
}

fn directory_at(parent: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Opens the file that a path names in its directory, if it is a regular one.
fn file_at(parent: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, path.file_name().unwrap_or_default(), flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("there is something else, which is no file"));
    }
    Ok(file)
}

/// Makes an empty file to mount on.
fn make_file(parent: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let name = path.file_name().unwrap_or_default();
    openat(parent, name, flags, Mode::from(0o400)).map(File::from)?;
    Ok(())
}
