//! Who a task runs as.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use crate::driver::DriverError;
use supervise::wire::Credentials;

/// The user of a task that asked for one.
#[derive(Clone, Debug)]
pub struct Owner {
    pub name: String,
    pub home: PathBuf,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Owner {
    /// Finds `name`, `uid`, `name:group` or `uid:gid`. `None` if that is who this process runs as
    /// anyway.
    pub fn find(spec: &str) -> Result<Option<Self>, DriverError> {
        let refused = |reason: String| DriverError::Refused(format!("user `{spec}`: {reason}"));
        let (user, group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (spec, None),
        };
        let entry = User::from_name(user)
            .map_err(|error| refused(format!("cannot read the user database: {error}")))?;
        let (uid, entry) = match (entry, user.parse()) {
            (Some(entry), _) => (entry.uid, Some(entry)),
            (None, Ok(id)) => (Uid::from_raw(id), User::from_uid(Uid::from_raw(id)).ok().flatten()),
            (None, Err(_)) => return Err(refused(format!("there is no user `{user}`"))),
        };
        let group = group
            .map(|group| match (Group::from_name(group), group.parse()) {
                (Ok(Some(entry)), _) => Ok(entry.gid),
                (_, Ok(id)) => Ok(Gid::from_raw(id)),
                _ => Err(refused(format!("there is no group `{group}`"))),
            })
            .transpose()?;
        if !geteuid().is_root() {
            let same = uid == geteuid() && group.is_none_or(|gid| gid == getegid());
            let reason = "only root can run a task as another user, leave `user` out";
            return if same { Ok(None) } else { Err(refused(reason.into())) };
        }
        let own = entry.as_ref().map_or(Gid::from_raw(uid.as_raw()), |entry| entry.gid);
        let gid = group.unwrap_or(own);
        let name = entry.as_ref().map_or_else(|| uid.to_string(), |entry| entry.name.clone());
        let groups = CString::new(name.as_str())
            .ok()
            .and_then(|name| getgrouplist(&name, gid).ok())
            .unwrap_or_else(|| vec![gid]);
        let home = entry.map_or_else(|| "/".into(), |entry| entry.dir);
        Ok(Some(Self { name, home, uid, gid, groups }))
    }

    pub fn credentials(&self) -> Credentials {
        Credentials {
            uid: self.uid.as_raw(),
            gid: self.gid.as_raw(),
            groups: self.groups.iter().map(|gid| gid.as_raw()).collect(),
        }
    }

    pub fn ids(&self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

    /// Makes a directory this user's own.
    pub fn take(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// The same for a volume that nobody has used yet.
    pub fn take_if_new(&self, volume: &Path) -> io::Result<()> {
        let root_owned = std::fs::metadata(volume)?.uid() == 0;
        if root_owned && std::fs::read_dir(volume)?.next().is_none() {
            self.take(volume)?;
        }
        Ok(())
    }
}

/// The name of the user that this process runs as.
pub fn own_name() -> String {
    match User::from_uid(geteuid()) {
        Ok(Some(user)) => user.name,
        _ => geteuid().to_string(),
    }
}
