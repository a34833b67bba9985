//! Whether a path leads where this process thinks, whoever else uses the machine.
//!
//! A run makes, fills and removes directories. Where another user can write to one of the directories above,
//! that user can put a symbolic link in the way, and the run would write to and remove what the link leads
//! to. So every directory on the way has to belong to somebody who could do that anyway, and nobody else
//! may replace what is in it. The rules are those of OpenSSH's `StrictModes`, with the sticky bit and a
//! user's private group allowed, and access control lists looked at.

mod acl;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, readlinkat, statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use self::acl::Writer;

/// How many symbolic links a path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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
        self.judge(&self.at, &self.shown)?;
        while let Some(name) = self.rest.pop_front() {
            let shown = self.shown.join(&name);
            let found = match statat(&self.at, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) if make => {
                    match mkdirat(&self.at, &*name, Mode::from_raw_mode(0o755)) {
                        // Another run was faster, or another user: that is judged below.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(failed(&shown, error)),
                    }
                    statat(&self.at, &*name, AtFlags::SYMLINK_NOFOLLOW)
                }
                Err(Errno::NOENT) => return Ok(false),
                found => found,
            };
            let found = found.map_err(|error| failed(&shown, error))?;
            if is_link(&found) {
                self.follow(&name, &found, &shown)?;
                continue;
            }
            let next = openat(&self.at, &*name, DIRECTORY, Mode::empty())
                .map_err(|error| failed(&shown, error))?;
            self.judge(&next, &shown)?;
            self.at = next;
            self.shown = shown;
        }
        Ok(true)
    }

    fn follow(&mut self, name: &OsStr, link: &Stat, shown: &Path) -> io::Result<()> {
        if !self.owners.contains(&link.st_uid) {
            return Err(refused(format!("`{}` is a link of another user", shown.display())));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(failed(shown, Errno::LOOP));
        }
        let target =
            readlinkat(&self.at, name, Vec::new()).map_err(|error| failed(shown, error))?;
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        if target.is_absolute() {
            self.at = open("/", DIRECTORY, Mode::empty())?;
            self.shown = "/".into();
        }
        for name in names(target).collect::<Vec<_>>().into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }

    fn judge(&self, directory: &OwnedFd, shown: &Path) -> io::Result<()> {
        let found = fstat(directory)?;
        if !self.owners.contains(&found.st_uid) {
            let shown = shown.display();
            return Err(refused(format!(
                "`{shown}` belongs to another user, who could replace what is in it"
            )));
        }
        let mode = Mode::from_raw_mode(found.st_mode);
        // In a directory with the sticky bit, only owners replace what is there.
        if mode.contains(Mode::SVTX) {
            return Ok(());
        }
        // The bits of the group are the most that any entry of an access control list allows.
        let others_write = mode.contains(Mode::WOTH)
            || mode.contains(Mode::WGRP)
                && match acl::of(directory).map_err(|error| failed(shown, error))? {
                    None => !is_private(Gid::from_raw(found.st_gid)),
                    Some(list) => list.writers().any(|writer| match writer {
                        Writer::User(id) => !self.owners.contains(&id),
                        Writer::OwnGroup => !is_private(Gid::from_raw(found.st_gid)),
                        Writer::Group(id) => !is_private(Gid::from_raw(id)),
                    }),
                };
        let shown = shown.display();
        if others_write {
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

fn is_link(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Symlink
}

/// Whether a group has nobody in it but this user and root, as where each user has a group of its own.
fn is_private(gid: Gid) -> bool {
    let me = Uid::from_raw(geteuid().as_raw());
    let (Ok(Some(group)), Ok(own)) = (Group::from_gid(gid), User::from_uid(me)) else {
        return false;
    };
    let own = own.map_or_else(|| me.to_string(), |user| user.name);
    let has_others = group.mem.iter().any(|member| *member != own && member != "root");
    if gid.as_raw() == 0 {
        // Accounts of the system may have it, too. Where containers run as any user, all of these have it.
        return me.is_root() && !has_others;
    }
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    group.name == own && !has_others && members(&users, gid).all(|user| user == own)
}

/// The users of this machine. Those of a directory service cannot be listed everywhere.
const USERS: &str = "/etc/passwd";

/// The users whose own group this is. A group does not name them as its members.
fn members(users: &str, gid: Gid) -> impl Iterator<Item = &str> {
    users.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let group: u32 = fields.nth(2)?.parse().ok()?;
        (group == gid.as_raw()).then_some(name)
    })
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

    #[test]
    fn users_belong_to_their_own_groups() {
        let users = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n\
                     eve:x:1001:1000::/home/eve:/bin/sh\nnonsense\n";
        let of = |gid| members(users, Gid::from_raw(gid)).collect::<Vec<_>>();
        assert_eq!(of(1000), ["me", "eve"]);
        assert_eq!(of(0), ["root"]);
        assert!(of(7).is_empty());
    }

    #[test]
    fn a_list_may_let_others_write() {
        let root = tempfile::tempdir().unwrap();
        let list = |mask: u16, entries: &[(u16, u16, u32)]| {
            let own = [(0x01, 7, u32::MAX), (0x04, 5, u32::MAX), (0x20, 5, u32::MAX)];
            let mut all = [&own[..], &[(0x10, mask, u32::MAX)], entries].concat();
            all.sort_unstable();
            let bytes = |(tag, mode, id): &(u16, u16, u32)| {
                [&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat()
            };
            [2_u32.to_le_bytes().to_vec(), all.iter().flat_map(bytes).collect()].concat()
        };
        let (user, group, me) = (0x02, 0x08, geteuid().as_raw());
        for (number, (list, is_safe)) in [
            (list(7, &[(user, 7, 65534)]), false),
            (list(7, &[(group, 7, 65534)]), false),
            (list(7, &[(user, 5, 65534)]), true),
            (list(7, &[(user, 7, me)]), true),
            // The mask takes it away.
            (list(5, &[(user, 7, 65534)]), true),
        ]
        .into_iter()
        .enumerate()
        {
            let path = root.path().join(number.to_string());
            fs::create_dir(&path).unwrap();
            match rustix::fs::setxattr(&path, acl::NAME, &list, rustix::fs::XattrFlags::empty()) {
                Ok(()) => {}
                // Not on every file system.
                Err(rustix::io::Errno::OPNOTSUPP) => return,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(make(&path.join("below")).is_ok(), is_safe, "{number}");
        }
    }
}
