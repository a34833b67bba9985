//! A store in a directory of this machine.

mod lock;
mod publish;
mod sidecar;
mod temporary;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::lock::DirectoryLock;
use self::sidecar::{Identity, metadata_file, read_sidecar};
use self::temporary::{Temporary, is_abandoned, is_held, is_temporary, remove_unheld};
use super::{
    CacheKey, CacheStore, Download, KeyPrefix, Metadata, ObjectInfo, Objects, PutCondition,
    StoreError, Stored, Upload, UploadInfo, UploadWriter,
};

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
    root: PathBuf,
    /// What threads are still doing, also for those who have gone away.
    work: TaskTracker,
    /// Nobody waits for the clean-up any more.
    closing: Arc<AtomicBool>,
}

/// How much is read and handed over at once, in bytes.
const CHUNK: usize = 1 << 20;

/// How long `close` waits for threads to end.
const CLEANUP: Duration = Duration::from_secs(10);

/// How many chunks wait for whoever reads.
const CHUNKS: usize = 4;

impl DirectoryStore {
    pub fn new(root: PathBuf) -> Self {
        Self { root, work: TaskTracker::new(), closing: Arc::default() }
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Runs something that may wait for the disk.
    async fn blocking<T: Send + 'static>(
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
    fn has_parent(&self, path: &Path) -> Result<bool, StoreError> {
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
    fn open(&self, key: &CacheKey) -> Result<Option<(File, ObjectInfo)>, StoreError> {
        let path = self.path(key);
        if !self.has_parent(&path)? {
            return Ok(None);
        }
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path);
        let file = match opened {
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

    fn info(&self, key: CacheKey, found: &fs::Metadata) -> Result<ObjectInfo, StoreError> {
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
            etag: format!(
                "{:x}-{:x}-{:x}-{:x}",
                identity.inode, identity.size, identity.modified_seconds, identity.modified_nanos
            ),
            metadata,
        })
    }

    /// Calls `visit` for each regular file below a directory. Links are not followed.
    fn visit_files(
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
    fn listed(&self, prefix: &KeyPrefix) -> Result<PathBuf, StoreError> {
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

    fn no_directory(&self) -> StoreError {
        let root = self.root.display();
        StoreError::Misconfigured(format!(
            "`{root}` is no directory, name another one with `file:///path`"
        ))
    }

    /// The key of a file below the root.
    fn key(&self, path: &Path) -> Option<CacheKey> {
        path.strip_prefix(&self.root).ok()?.to_str()?.parse().ok()
    }

    /// Temporary files below a directory, and whether somebody holds them.
    fn temporaries(&self, directory: &Path) -> Result<Vec<UploadInfo>, StoreError> {
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
    fn part(
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

#[async_trait]
impl Objects for DirectoryStore {
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
        condition: &PutCondition,
        mut parts: Upload,
    ) -> Result<Stored, StoreError> {
        let (key, metadata, condition) = (key.clone(), metadata.clone(), condition.clone());
        let runtime = Handle::current();
        // Dropped with this future, which ends the thread.
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let writing = self.blocking(move |store| {
            let path = store.path(&key);
            make(path.parent().unwrap_or(&store.root))?;
            store.has_parent(&path)?;
            let mut object = Temporary::new(&path)?;
            let mut size = 0;
            runtime.block_on(async {
                let write = async {
                    while let Some(part) = parts.next(&key).await? {
                        object.write(&part, &parts.progress)?;
                        size += part.len() as u64;
                    }
                    Ok(())
                };
                tokio::select! {
                    written = write => written,
                    _ = gone => Err(StoreError::Unfinished { key: key.clone() }),
                }
            })?;
            object.sync(&parts.progress)?;
            let metadata = parts.metadata.as_ref().unwrap_or(&metadata);
            let notice = store.publish(&key, object, metadata, &condition)?;
            Ok(Stored { size, notice, parts: None })
        });
        let written = writing.await;
        drop(alive);
        written
    }
}

#[async_trait]
impl CacheStore for DirectoryStore {
    async fn probe(&self, writes: bool) -> Result<(), StoreError> {
        self.blocking(move |store| {
            match fs::metadata(&store.root) {
                Ok(found) if !found.is_dir() => return Err(store.no_directory()),
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
        let part = move |size: u64| size.saturating_sub(bytes)..size;
        self.blocking(move |store| store.part(&key, part)).await
    }

    async fn start(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        let key = key.clone();
        self.blocking(move |store| store.part(&key, |size| 0..size.min(bytes))).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
        let prefix = prefix.clone();
        self.blocking(move |store| {
            let mut found = Vec::new();
            Self::visit_files(&store.listed(&prefix)?, &mut |path, _, metadata| {
                if let Some(key) = store.key(path).filter(CacheKey::is_archive) {
                    found.push(store.info(key, metadata)?);
                }
                Ok(())
            })?;
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    async fn delete(&self, key: &CacheKey, etag: &str) -> Result<bool, StoreError> {
        let (key, etag) = (key.clone(), etag.to_owned());
        self.blocking(move |store| {
            let path = store.path(&key);
            if !store.has_parent(&path)? {
                return Ok(false);
            }
            let _lock = DirectoryLock::acquire(path.parent().unwrap_or(&store.root))?;
            if store.open(&key)?.is_none_or(|(_, info)| info.etag != etag) {
                return Ok(false);
            }
            fs::remove_file(&path).map_err(io(&path))?;
            let beside = metadata_file(&path);
            // What no version of this program wrote stays.
            if read_sidecar(&beside).is_some() {
                fs::remove_file(&beside).map_err(io(&beside))?;
            }
            Ok(true)
        })
        .await
    }

    async fn left_behind(&self) -> Result<u64, StoreError> {
        let found = self.uploads(&KeyPrefix::EMPTY).await?;
        let gone = found.iter().filter(|upload| upload.writer == UploadWriter::Gone);
        Ok(gone.count() as u64)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.blocking(|store| {
            let mut swept = 0;
            Self::visit_files(&store.root, &mut |path, name, metadata| {
                if store.closing.load(Ordering::Relaxed) {
                    // The next run goes on with it.
                    return Err(StoreError::Other("the store is closed".to_owned()));
                }
                if is_temporary(name) && is_abandoned(metadata) {
                    swept += u64::from(remove_unheld(path)?);
                }
                Ok(())
            })?;
            Ok(swept)
        })
        .await
    }

    async fn uploads(&self, prefix: &KeyPrefix) -> Result<Vec<UploadInfo>, StoreError> {
        let prefix = prefix.clone();
        self.blocking(move |store| store.temporaries(&store.listed(&prefix)?)).await
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<bool, StoreError> {
        let key = upload.key.clone();
        self.blocking(move |store| {
            let path = store.path(&key);
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            Ok(is_temporary(name) && store.has_parent(&path)? && remove_unheld(&path)?)
        })
        .await
    }

    async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.work.close();
        // What is not done by then is swept by another run.
        _ = tokio::time::timeout(CLEANUP, self.work.wait()).await;
    }
}

fn make(directory: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(io(directory))
}

/// Nothing is there, and nothing can be.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn no_file(path: &Path) -> StoreError {
    let what = "it is no regular file, move it away or choose another `cache_prefix`";
    io(path)(io::Error::other(what))
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}
