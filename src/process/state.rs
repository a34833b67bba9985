//! Where this program keeps what it needs while it runs, and what killed runs left.

use std::path::PathBuf;

use nix::unistd::{Uid, User, geteuid};

/// `$XDG_CACHE_HOME/ci`, `/var/cache/ci` for root, or `~/.cache/ci`. It need not exist.
pub fn directory() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|directory| directory.is_absolute())
    };
    if let Some(cache) = absolute("XDG_CACHE_HOME") {
        return cache.join("ci");
    }
    if geteuid().is_root() {
        return "/var/cache/ci".into();
    }
    absolute("HOME").unwrap_or_else(|| home(geteuid())).join(".cache/ci")
}

/// A user's home directory by the user database.
pub fn home(uid: Uid) -> PathBuf {
    User::from_uid(uid).ok().flatten().map_or_else(|| "/".into(), |user| user.dir)
}
