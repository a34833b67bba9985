//! Whether a path leads where this process thinks, whoever else uses the machine.
//!
//! A run makes, fills and removes directories. Where another user can write to one of the directories above,
//! that user can put a symbolic link in the way, and the run would write to and remove what the link leads
//! to. So every directory on the way has to belong to somebody who could do that anyway, and nobody else
//! may replace what is in it. The rules are those of OpenSSH's `StrictModes`, with the sticky bit and a
//! user's private group allowed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Group, User, geteuid};

/// How many symbolic links a path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Makes the directories of a path that are missing, with mode 0755. It is an error if another user can
/// change where the path leads.
pub fn make(path: &Path) -> io::Result<()> {
    Walk::start(path)?.go(true).map(drop)
}

/// Whether there is a directory at a path. It is an error if another user can change where the path leads.
pub fn exists(path: &Path) -> io::Result<bool> {
    Walk::start(path)?.go(false)
}

struct Walk {
    at: OwnedFd,
    /// Where `at` is, for errors.
    shown: PathBuf,
    rest: VecDeque<OsString>,
    links: usize,
    /// Who may own a directory on the way: this user, root, and whoever owns `/`, which is not root
    /// where a user namespace has no name for it.
    owners: [u32; 3],
}

impl Walk {
    fn start(path: &Path) -> io::Result<Self> {
        let at = open("/", DIRECTORY, Mode::empty())?;
        let owners = [geteuid().as_raw(), 0, fstat(&at)?.st_uid];
        let rest = names(&std::path::absolute(path)?).collect();
        Ok(Self { at, shown: "/".into(), rest, links: 0, owners })
    }

    /// Returns whether the path is there.
    fn go(mut self, make: bool) -> io::Result<bool> {
        self.judge(&fstat(&self.at)?, &self.shown)?;
        while let Some(name) = self.rest.pop_front() {
            let shown = self.shown.join(&name);
            let found = match fstatat(&self.at, &*name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) if make => {
                    match mkdirat(&self.at, &*name, Mode::from_bits_truncate(0o755)) {
                        // Another run was faster, or another user: that is judged below.
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(failed(&shown, error)),
                    }
                    fstatat(&self.at, &*name, AtFlags::AT_SYMLINK_NOFOLLOW)
                }
                Err(Errno::ENOENT) => return Ok(false),
                found => found,
            };
            let found = found.map_err(|error| failed(&shown, error))?;
            if is_link(&found) {
                self.follow(&name, &found, &shown)?;
                continue;
            }
            let next = openat(&self.at, &*name, DIRECTORY, Mode::empty())
                .map_err(|error| failed(&shown, error))?;
            self.judge(&fstat(&next)?, &shown)?;
            self.at = next;
            self.shown = shown;
        }
        Ok(true)
    }

    fn follow(&mut self, name: &OsStr, link: &FileStat, shown: &Path) -> io::Result<()> {
        if !self.owners.contains(&link.st_uid) {
            return Err(refused(format!("`{}` is a link of another user", shown.display())));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(failed(shown, Errno::ELOOP));
        }
        let target = readlinkat(&self.at, name).map_err(|error| failed(shown, error))?;
        let target = Path::new(&target);
        if target.is_absolute() {
            self.at = open("/", DIRECTORY, Mode::empty())?;
            self.shown = "/".into();
        }
        for name in names(target).collect::<Vec<_>>().into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }

    fn judge(&self, found: &FileStat, shown: &Path) -> io::Result<()> {
        let shown = shown.display();
        if !self.owners.contains(&found.st_uid) {
            return Err(refused(format!(
                "`{shown}` belongs to another user, who could replace what is in it"
            )));
        }
        let mode = Mode::from_bits_truncate(found.st_mode);
        // In a directory with the sticky bit, only owners replace what is there.
        let others_write = mode.contains(Mode::S_IWOTH)
            || mode.contains(Mode::S_IWGRP) && !is_private(Gid::from_raw(found.st_gid));
        if others_write && !mode.contains(Mode::S_ISVTX) {
            return Err(refused(format!(
                "other users can write to `{shown}` and replace what is in it"
            )));
        }
        Ok(())
    }
}

/// The names that a path consists of.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn is_link(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK
}

/// Whether a group has nobody in it but this user and root, as where each user has a group of its own.
fn is_private(gid: Gid) -> bool {
    let (Ok(Some(group)), Ok(own)) = (Group::from_gid(gid), User::from_uid(geteuid())) else {
        return false;
    };
    let own = own.map_or_else(|| geteuid().to_string(), |user| user.name);
    let is_own = group.name == own || gid.as_raw() == 0;
    is_own && group.mem.iter().all(|member| *member == own || member == "root")
}

fn failed(path: &Path, error: Errno) -> io::Error {
    let source = io::Error::from(error);
    io::Error::new(source.kind(), format!("`{}`: {source}", path.display()))
}

fn refused(reason: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn directories_are_made_below_those_that_nobody_else_can_change() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        assert!(!exists(&at("a/b")).unwrap());
        make(&at("a/b/c")).unwrap();
        assert!(exists(&at("a/b/c")).unwrap());
        assert_eq!(fs::metadata(at("a/b")).unwrap().permissions().mode() & 0o777 & !0o755, 0);
        symlink("a/../a/b", at("link")).unwrap();
        make(&at("link/d")).unwrap();
        assert!(at("a/b/d").is_dir());
        symlink("loop", at("loop")).unwrap();
        assert!(make(&at("loop/x")).is_err());
        fs::write(at("file"), "").unwrap();
        assert!(make(&at("file/x")).unwrap_err().to_string().contains("file`"));
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused_wherever_it_is() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("open/mine/deep")).unwrap();
        for path in ["open", "open/mine", "open/mine/deep", "open/new"] {
            set_mode(&at("open"), 0o777);
            let error = make(&at(path)).unwrap_err().to_string();
            assert!(error.contains("other users can write to"), "{error}");
            assert!(exists(&at(path)).is_err());
        }
        assert!(!at("open/new").exists());
        // As in /tmp.
        set_mode(&at("open"), 0o1777);
        make(&at("open/new")).unwrap();
        set_mode(&at("open/mine"), 0o777);
        assert!(make(&at("open/mine/deep")).is_err());
        symlink(at("open/mine"), at("link")).unwrap();
        assert!(make(&at("link/deep")).is_err());
    }

    #[test]
    fn what_another_user_has_planted_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("shared/native")).unwrap();
        set_mode(&at("shared"), 0o1777);
        chown(at("shared/native"), Some(65534), None).unwrap();
        let error = make(&at("shared/native/default")).unwrap_err().to_string();
        assert!(error.contains("belongs to another user"), "{error}");
        fs::create_dir(at("target")).unwrap();
        symlink(at("target"), at("shared/link")).unwrap();
        make(&at("shared/link/x")).unwrap();
        lchown(at("shared/link"), Some(65534), None).unwrap();
        let error = make(&at("shared/link/y")).unwrap_err().to_string();
        assert!(error.contains("is a link of another user"), "{error}");
        assert!(!at("target/y").exists());
        // A group that others are in, or may be.
        fs::create_dir(at("group")).unwrap();
        chown(at("group"), None, Some(65534)).unwrap();
        set_mode(&at("group"), 0o775);
        assert!(make(&at("group/x")).is_err());
        chown(at("group"), None, Some(0)).unwrap();
        make(&at("group/x")).unwrap();
    }
}
