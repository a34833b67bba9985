//! The files of a store, whoever asks for them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::error::{io, is_absent, no_file};
use super::sidecar::{Identity, metadata_file, read_sidecar};
use super::temporary::{is_abandoned, is_held, is_temporary};
use super::usage;
use crate::error::StoreError;
use crate::key::{CacheKey, KeyPrefix};
use crate::object::{Metadata, ObjectInfo};
use crate::upload::{UploadInfo, UploadWriter};

/// Objects are files below a root, named by their keys. Beside each stands a file with what its writer
/// said about it.
///
/// A new object is written to a temporary file in the directory of the old one, which it then replaces
/// by a rename. The file with the metadata names the very object that it belongs to, so that of writers
/// at the same time nobody's metadata is taken for another's. It is also what proves that this program wrote
/// the object: a file without it, or that is not the one it names, is foreign.
///
/// The directory of an object is locked while the object is compared, replaced or removed.
pub struct DirectoryStore {
    pub(super) root: PathBuf,
    /// What threads are still doing, also for those who have gone away.
    pub(super) work: TaskTracker,
    /// Nobody waits for the clean-up any more.
    pub(super) closing: Arc<AtomicBool>,
}

impl DirectoryStore {
    pub fn new(root: PathBuf) -> Self {
        Self { root, work: TaskTracker::new(), closing: Arc::default() }
    }

    pub(super) fn path(&self, key: &CacheKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Runs something that may wait for the disk.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = Self {
            root: self.root.clone(),
            work: self.work.clone(),
            closing: self.closing.clone(),
        };
        let done = self.work.spawn_blocking(move || work(this)).await;
        done.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())))
    }

    /// Checks that the directory of an object is not outside of the root, and returns whether it is
    /// there. A key is a path of plain names, so only links could lead elsewhere.
    pub(super) fn has_parent(&self, path: &Path) -> Result<bool, StoreError> {
        let parent = path.parent().unwrap_or(&self.root);
        match fs::canonicalize(parent).and_then(|found| Ok((found, fs::canonicalize(&self.root)?)))
        {
            Ok((found, root)) if found.starts_with(&root) => Ok(true),
            Ok(_) => Err(io(path)(io::Error::other("it is outside of the store"))),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(io(parent)(error)),
        }
    }

    /// Opens an object, if there is one. Whatever else has its name is an error: links are not followed, and
    /// nothing but a regular file is ever taken for an object or replaced by one.
    pub(super) fn open(&self, key: &CacheKey) -> Result<Option<(File, ObjectInfo)>, StoreError> {
        let path = self.path(key);
        if !self.has_parent(&path)? {
            return Ok(None);
        }
        let file = match usage::open_unused(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let found = fs::symlink_metadata(&path);
                return Err(match found.is_ok_and(|found| !found.is_file()) {
                    true => no_file(&path),
                    false => io(&path)(error),
                });
            }
        };
        let found = file.metadata().map_err(io(&path))?;
        if !found.is_file() {
            return Err(no_file(&path));
        }
        let info = self.info(key.clone(), &found)?;
        Ok(Some((file, info)))
    }

    pub(super) fn info(
        &self,
        key: CacheKey,
        found: &fs::Metadata,
    ) -> Result<ObjectInfo, StoreError> {
        let path = self.path(&key);
        let identity = Identity::of(found);
        // Without metadata, or with that of another writer, it is an object like one of another tool.
        let metadata = read_sidecar(&metadata_file(&path))
            .filter(|sidecar| sidecar.identity == identity)
            .map(|sidecar| {
                let pairs = sidecar.pairs.iter();
                Metadata::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.clone())))
            })
            .unwrap_or_default();
        Ok(ObjectInfo {
            key,
            size: found.len(),
            modified: found.modified().map_err(io(&path))?,
            used: usage::of(found),
            etag: format!(
                "{:x}-{:x}-{:x}-{:x}",
                identity.inode, identity.size, identity.modified_seconds, identity.modified_nanos
            ),
            metadata,
        })
    }

    /// All archives below a prefix, sorted by key.
    pub(super) fn archives(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut found = Vec::new();
        Self::visit_files(&self.listed(prefix)?, &mut |path, _, metadata| {
            if let Some(key) = self.key(path).filter(CacheKey::is_archive) {
                found.push(self.info(key, metadata)?);
            }
            Ok(())
        })?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes an object if `is_it` holds for what is there, and returns whether it did. For whoever has locked
    /// the object's directory.
    pub(super) fn remove(
        &self,
        key: &CacheKey,
        is_it: impl FnOnce(&ObjectInfo) -> bool,
    ) -> Result<bool, StoreError> {
        let path = self.path(key);
        if !self.open(key)?.is_some_and(|(_, info)| is_it(&info)) {
            return Ok(false);
        }
        fs::remove_file(&path).map_err(io(&path))?;
        let beside = metadata_file(&path);
        // What no version of this program wrote stays.
        if read_sidecar(&beside).is_some() {
            fs::remove_file(&beside).map_err(io(&beside))?;
        }
        Ok(true)
    }

    /// Calls `visit` for each regular file below a directory. Links are not followed.
    pub(super) fn visit_files(
        directory: &Path,
        visit: &mut dyn FnMut(&Path, &str, &fs::Metadata) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io(directory)(error)),
        };
        for entry in entries {
            let path = entry.map_err(io(directory))?.path();
            // It may be gone by now.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.is_dir() {
                Self::visit_files(&path, visit)?;
            } else if metadata.is_file()
                && let Some(name) = path.file_name().and_then(|name| name.to_str())
            {
                visit(&path, name, &metadata)?;
            }
        }
        Ok(())
    }

    /// The directory of a prefix, for a listing. A root that is absent is a mistake here: there would
    /// be nothing to tell a wrong path from an empty store.
    pub(super) fn listed(&self, prefix: &KeyPrefix) -> Result<PathBuf, StoreError> {
        let root = self.root.display();
        match fs::metadata(&self.root) {
            Ok(found) if found.is_dir() => Ok(self.root.join(prefix.as_str())),
            Ok(_) => Err(self.no_directory()),
            Err(error) if is_absent(&error) => Err(StoreError::Misconfigured(format!(
                "there is no directory `{root}`, name the one that the runs were given with `cache=`"
            ))),
            Err(error) => Err(io(&self.root)(error)),
        }
    }

    pub(super) fn no_directory(&self) -> StoreError {
        let root = self.root.display();
        StoreError::Misconfigured(format!(
            "`{root}` is no directory, name another one with `file:///path`"
        ))
    }

    /// The key of a file below the root.
    pub(super) fn key(&self, path: &Path) -> Option<CacheKey> {
        path.strip_prefix(&self.root).ok()?.to_str()?.parse().ok()
    }

    /// Temporary files below a directory, and whether somebody holds them.
    pub(super) fn temporaries(&self, directory: &Path) -> Result<Vec<UploadInfo>, StoreError> {
        let mut found = Vec::new();
        Self::visit_files(directory, &mut |path, name, metadata| {
            if is_temporary(name)
                && let Some(key) = self.key(path)
            {
                let writer = match is_held(path)? {
                    Some(true) => UploadWriter::Alive,
                    Some(false) if is_abandoned(metadata) => UploadWriter::Gone,
                    Some(false) | None => UploadWriter::Unknown,
                };
                let begun = metadata.modified().map_err(io(path))?;
                found.push(UploadInfo { key, id: String::new(), begun, writer });
            }
            Ok(())
        })?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// A part of an object, and what is known of it.
    pub(super) fn part(
        &self,
        key: &CacheKey,
        part: impl FnOnce(u64) -> Range<u64>,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        let Some((mut file, info)) = self.open(key)? else { return Ok(None) };
        let Range { start, end } = part(info.size);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.take(end - start).read_to_end(&mut bytes))
            .map_err(io(&self.path(key)))?;
        Ok(Some((info, bytes.into())))
    }
}
