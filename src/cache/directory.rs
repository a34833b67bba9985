//! A store in a directory of this machine.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{CacheKey, CacheStore, Download, KeyPrefix, Metadata, ObjectInfo, StoreError, Upload};

/// Objects are files below a root, named by their keys. Beside each stands a file with what its writer
/// said about it.
///
/// A new object is written to a temporary file in the directory of the old one, which it then replaces
/// by a rename. The file with the metadata names the very object that it belongs to, so that of writers
/// at the same time nobody's metadata is taken for another's.
pub struct DirectoryStore {
    root: PathBuf,
    /// What threads are still doing, also for those who have gone away.
    work: TaskTracker,
}

/// What names of files that are no objects begin with.
const HIDDEN: &str = ".ci-";
const METADATA: &str = ".ci-meta-";
const TEMPORARY: &str = ".ci-temp-";

/// How much is read and handed over at once, in bytes.
const CHUNK: usize = 1 << 20;

/// How long `close` waits for threads to end.
const CLEANUP: Duration = Duration::from_secs(10);

/// How many chunks wait for whoever reads.
const CHUNKS: usize = 4;

/// What a file of metadata holds.
#[derive(Serialize, Deserialize)]
struct Sidecar {
    /// Of the object that it belongs to.
    identity: Identity,
    pairs: Vec<(String, String)>,
}

/// One version of a file among all that ever have its name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    inode: u64,
    size: u64,
    modified_seconds: i64,
    modified_nanos: i64,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified_seconds: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
        }
    }
}

impl DirectoryStore {
    pub fn new(root: PathBuf) -> Self {
        Self { root, work: TaskTracker::new() }
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Runs something that may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = Self { root: self.root.clone(), work: self.work.clone() };
        let done = self.work.spawn_blocking(move || work(this)).await;
        done.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())))
    }

    /// Opens an object, if there is one. A key is a path of plain names, so only links could lead out of
    /// the root, and those are not followed.
    fn open(&self, key: &CacheKey) -> Result<Option<(File, ObjectInfo)>, StoreError> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        match fs::canonicalize(parent).and_then(|found| Ok((found, fs::canonicalize(&self.root)?)))
        {
            Ok((found, root)) if found.starts_with(&root) => {}
            Ok(_) => return Err(io(&path)(io::Error::other("it is outside of the store"))),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(io(&path)(error)),
        }
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(io(&path)(error)),
        };
        let found = file.metadata().map_err(io(&path))?;
        if !found.is_file() {
            return Ok(None);
        }
        let info = self.info(key.clone(), &found)?;
        Ok(Some((file, info)))
    }

    fn info(&self, key: CacheKey, found: &fs::Metadata) -> Result<ObjectInfo, StoreError> {
        let path = self.path(&key);
        let identity = Identity::of(found);
        // Without metadata, or with that of another writer, it is an object like one of another tool.
        let metadata = fs::read(hidden(&path, METADATA))
            .ok()
            .and_then(|text| serde_json::from_slice::<Sidecar>(&text).ok())
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
            etag: format!(
                "{:x}-{:x}-{:x}",
                identity.inode, identity.modified_seconds, identity.modified_nanos
            ),
            metadata,
        })
    }

    fn list_below(&self, directory: &Path, found: &mut Vec<ObjectInfo>) -> Result<(), StoreError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io(directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(io(directory))?;
            let path = entry.path();
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.is_dir() {
                self.list_below(&path, found)?;
            } else if metadata.is_file()
                && let Some(key) = self.key(&path)
            {
                found.push(self.info(key, &metadata)?);
            }
        }
        Ok(())
    }

    /// The key of a file, unless its name is none of an object.
    fn key(&self, path: &Path) -> Option<CacheKey> {
        let name = path.file_name()?.to_str()?;
        if name.starts_with(HIDDEN) {
            return None;
        }
        path.strip_prefix(&self.root).ok()?.to_str()?.parse().ok()
    }

    /// Removes temporary files that nobody holds any more.
    fn sweep_below(&self, directory: &Path) -> Result<u64, StoreError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(0),
            Err(error) => return Err(io(directory)(error)),
        };
        let mut swept = 0;
        for entry in entries {
            let path = entry.map_err(io(directory))?.path();
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.is_dir() {
                swept += self.sweep_below(&path)?;
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if metadata.is_file()
                && name.starts_with(TEMPORARY)
                && let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
            {
                fs::remove_file(&path).map_err(io(&path))?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

#[async_trait]
impl CacheStore for DirectoryStore {
    async fn probe(&self, writes: bool) -> Result<(), StoreError> {
        self.blocking(move |store| {
            match fs::metadata(&store.root) {
                Ok(found) if !found.is_dir() => {
                    let root = store.root.display();
                    return Err(StoreError::Misconfigured(format!(
                        "`{root}` is no directory, name another one with `cache=file:///path`"
                    )));
                }
                // Whoever may write makes it.
                Err(error) if !is_absent(&error) => return Err(io(&store.root)(error)),
                _ => {}
            }
            if writes {
                make(&store.root)?;
                drop(Temporary::new(&store.root.join("probe"))?);
            }
            Ok(())
        })
        .await
    }

    async fn stat(&self, key: &CacheKey) -> Result<Option<ObjectInfo>, StoreError> {
        let key = key.clone();
        self.blocking(move |store| Ok(store.open(&key)?.map(|(_, info)| info))).await
    }

    async fn tail(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        let key = key.clone();
        self.blocking(move |store| {
            let Some((mut file, info)) = store.open(&key)? else { return Ok(None) };
            let mut tail = Vec::new();
            file.seek(SeekFrom::Start(info.size.saturating_sub(bytes)))
                .and_then(|_| file.take(bytes).read_to_end(&mut tail))
                .map_err(io(&store.path(&key)))?;
            Ok(Some((info, tail.into())))
        })
        .await
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Download)>, StoreError> {
        let (key, path) = (key.clone(), self.path(key));
        let opened = {
            let key = key.clone();
            self.blocking(move |store| store.open(&key)).await?
        };
        let Some((mut file, info)) = opened else { return Ok(None) };
        let (sender, chunks) = mpsc::channel(CHUNKS);
        // The file stays the same when another one takes its name.
        let task = tokio::task::spawn_blocking(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk).map_err(io(&path));
                let chunk = match read {
                    Ok(0) => return,
                    Ok(read) => {
                        chunk.truncate(read);
                        Ok(Bytes::from(chunk))
                    }
                    Err(error) => Err(error),
                };
                // Nobody may want it any more.
                if sender.blocking_send(chunk).is_err() {
                    return;
                }
            }
        });
        let download = Download::new(key, info.size, chunks, task);
        Ok(Some((info, download)))
    }

    async fn put(
        &self,
        key: &CacheKey,
        metadata: &Metadata,
        mut parts: Upload,
    ) -> Result<u64, StoreError> {
        let (key, path, metadata) = (key.clone(), self.path(key), metadata.clone());
        let runtime = Handle::current();
        // Dropped with this future, which ends the thread.
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let writing = self.blocking(move |_| {
            make(path.parent().unwrap_or(&path))?;
            let mut object = Temporary::new(&path)?;
            let mut size = 0;
            runtime.block_on(async {
                let write = async {
                    while let Some(part) = parts.next(&key).await? {
                        object.write(&part)?;
                        size += part.len() as u64;
                    }
                    Ok(())
                };
                tokio::select! {
                    written = write => written,
                    _ = gone => Err(StoreError::Unfinished { key: key.clone() }),
                }
            })?;
            object.sync()?;
            let sidecar = Sidecar {
                identity: Identity::of(&object.file.metadata().map_err(io(&object.path))?),
                pairs: parts
                    .metadata
                    .as_ref()
                    .unwrap_or(&metadata)
                    .pairs()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            };
            let text = serde_json::to_vec(&sidecar)
                .map_err(|error| StoreError::Other(error.to_string()))?;
            let beside = hidden(&path, METADATA);
            let mut described = Temporary::new(&beside)?;
            described.write(&text)?;
            described.publish(&beside)?;
            object.publish(&path)?;
            Ok(size)
        });
        let written = writing.await;
        drop(alive);
        written
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
        let prefix = prefix.clone();
        self.blocking(move |store| {
            let mut found = Vec::new();
            store.list_below(&store.root.join(prefix.as_str()), &mut found)?;
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), StoreError> {
        let path = self.path(key);
        self.blocking(move |_| {
            for path in [&path, &hidden(&path, METADATA)] {
                match fs::remove_file(path) {
                    Err(error) if !is_absent(&error) => return Err(io(path)(error)),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.blocking(|store| store.sweep_below(&store.root)).await
    }

    async fn close(&self) {
        self.work.close();
        // What is not done by then is swept by another run.
        _ = tokio::time::timeout(CLEANUP, self.work.wait()).await;
    }
}

/// A file that is removed again unless it is published. It is locked for as long as it is being written.
struct Temporary {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Temporary {
    /// In the directory of what it is to replace.
    fn new(target: &Path) -> Result<Self, StoreError> {
        loop {
            let path = target.with_file_name(format!("{TEMPORARY}{}", uuid::Uuid::new_v4()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&path)
                .map_err(io(&path))?;
            match file.try_lock() {
                Ok(()) => return Ok(Self { path, file, published: false }),
                // Somebody sweeps, and found it before it was locked: it is gone.
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(io(&path)(error)),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(io(&self.path))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(io(&self.path))
    }

    fn publish(mut self, target: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, target).map_err(io(target))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is swept by another run.
            _ = fs::remove_file(&self.path);
        }
    }
}

/// The file of this kind beside an object.
fn hidden(object: &Path, kind: &str) -> PathBuf {
    // The whole name may be as long as a file system allows.
    let name = object.file_name().unwrap_or_default().as_encoded_bytes();
    object.with_file_name(format!("{kind}{}", &blake3::hash(name).to_hex()[..32]))
}

fn make(directory: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(io(directory))
}

/// Nothing is there, or something that no object could be below of.
fn is_absent(error: &io::Error) -> bool {
    let link = error.raw_os_error() == Some(nix::libc::ELOOP);
    link || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}
