//! The store in the user's cache directory, so that named volumes last without any server.
//!
//! It is one directory for all projects, with a directory of archives for each of them. All of them together are
//! kept below a size at the end of each run that uses it.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use tracing::debug;

use super::{VolumeCache, lock};
use crate::process::state;
use store::{CacheKey, CacheStore, DirectoryStore, Eviction, KeyPrefix, StoreError};

/// Its size unless the user says another one.
pub const DEFAULT_SIZE: ByteSize = ByteSize::gib(20);

/// The longest part of a project's own name in that of its directory, in bytes.
const LONGEST: usize = 40;

/// The part of the user's store that belongs to a project.
#[derive(Clone, Debug)]
pub struct LocalStore {
    /// Holds a directory for each project.
    all: PathBuf,
    /// The name of this project's.
    project: String,
    /// How many bytes all archives may have together.
    size: u64,
}

impl LocalStore {
    /// The store of all projects. It need not exist.
    pub fn of_all_projects() -> PathBuf {
        state::directory().join("volumes")
    }

    /// The part of a project, which is known by the path of its root.
    pub fn new(root: &Path, size: u64) -> Self {
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).take(LONGEST).collect();
        let hash = blake3::hash(root.as_os_str().as_bytes()).to_hex();
        Self {
            all: Self::of_all_projects(),
            project: format!("{}-{}", name.trim_start_matches('.'), &hash[..12]),
            size,
        }
    }

    /// Where this project's archives are.
    pub fn directory(&self) -> PathBuf {
        self.all.join(&self.project)
    }

    /// Makes the store of all projects if it is not there. Nobody else has to look into it: archives hold what
    /// volumes hold.
    pub fn prepare(all: &Path) -> Result<(), StoreError> {
        let make = || {
            files::trust::make(all)?;
            match fs::metadata(all)?.permissions().mode() & 0o7777 {
                0o700 => Ok(()),
                _ => fs::set_permissions(all, Permissions::from_mode(0o700)),
            }
        };
        make().map_err(|source| StoreError::Io { path: all.to_owned(), source })
    }

    /// A key of this project among those of all projects.
    fn among_all(&self, key: &CacheKey) -> Option<CacheKey> {
        format!("{}/{key}", self.project).parse().ok()
    }
}

impl VolumeCache {
    /// Makes the store ready that this cache uses, if that is the user's own.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        let Some(local) = &self.local else { return Ok(()) };
        let all = local.all.clone();
        let made = tokio::task::spawn_blocking(move || LocalStore::prepare(&all)).await;
        made.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())))
    }

    /// Records that a run has used an archive, so that others go before it.
    pub(super) async fn used(&self, key: &CacheKey) {
        lock(&self.used).insert(key.clone());
        // A user who may only read an archive cannot record that.
        if let Err(error) = self.store.touch(key).await {
            debug!(%key, %error, "the use of an archive is not recorded");
        }
    }

    /// Removes archives from the user's own store until it has the size that it may have. What goes wrong is a
    /// warning alone: the volumes of this run are kept by then.
    pub async fn make_room(&self) {
        let Some(local) = &self.local else { return };
        // Whoever wanted to use the cache has told why it cannot be used.
        if self.prepare().await.is_err() {
            return;
        }
        let used = lock(&self.used).clone();
        let used: HashSet<CacheKey> = used.iter().filter_map(|key| local.among_all(key)).collect();
        let store = DirectoryStore::new(local.all.clone());
        match store.evict(local.size, used).await {
            Ok(eviction) => self.tell(local, eviction),
            Err(error) => self.events.warning(format!(
                "the cache in `{}` may be larger than `--cache-size`: {error}",
                local.all.display()
            )),
        }
        // A project that is never run again would keep what its killed runs have left.
        if self.config.policy.pushes()
            && let Err(error) = store.sweep().await
        {
            debug!(%error, "what killed runs have left is not removed");
        }
    }

    fn tell(&self, local: &LocalStore, eviction: Eviction) {
        let size = human_size(local.size);
        for archive in &eviction.too_large {
            let own: Option<KeyPrefix> = local.project.parse().ok();
            let key = own.as_ref().and_then(|own| own.below(&archive.key));
            self.events.warning(format!(
                "`{}` was removed from the cache: it has {}, and the cache may have {size}, allow more \
                 with `--cache-size`",
                key.unwrap_or(archive.key.as_str()),
                human_size(archive.size)
            ));
        }
        let removed = eviction.removed - eviction.too_large.len() as u64;
        if removed > 0 {
            let told: u64 = eviction.too_large.iter().map(|archive| archive.size).sum();
            self.events.notice(format!(
                "removed {} {} ({}) from the cache, the least recently used first, to keep it below {size}",
                removed,
                if removed == 1 { "archive" } else { "archives" },
                human_size(eviction.bytes - told)
            ));
        }
        if let Some(error) = eviction.failed {
            self.events.warning(format!("an archive could not be removed from the cache: {error}"));
        }
        if eviction.kept > local.size {
            self.events.warning(format!(
                "the archives of this run have {}, and the cache may have {size}, allow more with \
                 `--cache-size`",
                human_size(eviction.kept)
            ));
        }
    }
}

fn human_size(bytes: u64) -> impl std::fmt::Display {
    ByteSize::b(bytes).display().iec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_root_has_a_directory_of_its_own() {
        let name = |root: &str| LocalStore::new(Path::new(root), 1).project;
        for (root, start) in [
            ("/home/me/app", "app-"),
            ("/home/me/my app:1", "my-app-1-"),
            ("/home/me/.dots", "dots-"),
            ("/", "-"),
        ] {
            let name = name(root);
            assert_eq!(name.rsplit_once('-').map(|(_, hash)| hash.len()), Some(12));
            assert!(name.starts_with(start), "{name}");
            let key = LocalStore::new(Path::new(root), 1).among_all(&"v.tar".parse().unwrap());
            assert_eq!(key.unwrap().as_str(), format!("{name}/v.tar"));
        }
        assert_ne!(name("/a/app"), name("/b/app"));
        assert!(name(&format!("/{}", "x".repeat(255))).len() < 64);
    }
}
