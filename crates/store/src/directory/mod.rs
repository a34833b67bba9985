//! A store in a directory of this machine.

mod error;
mod evict;
mod lock;
mod publish;
mod sidecar;
mod store;
mod temporary;
mod usage;

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub use self::evict::Eviction;
pub use self::store::DirectoryStore;

use self::error::{io, is_absent};
use self::lock::DirectoryLock;
use self::temporary::{Temporary, is_abandoned, is_temporary, remove_unheld};
use crate::error::StoreError;
use crate::key::{CacheKey, KeyPrefix};
use crate::object::{Metadata, ObjectInfo};
use crate::store::{CacheStore, Objects};
use crate::stream::{Download, Upload};
use crate::upload::{PutCondition, Stored, UploadInfo, UploadWriter};

/// How much is read and handed over at once, in bytes.
const CHUNK: usize = 1 << 20;

/// How long `close` waits for threads to end.
const CLEANUP: Duration = Duration::from_secs(10);

/// How many chunks wait for whoever reads.
const CHUNKS: usize = 4;

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
        self.blocking(move |store| store.archives(&prefix)).await
    }

    async fn delete(&self, key: &CacheKey, etag: &str) -> Result<bool, StoreError> {
        let (key, etag) = (key.clone(), etag.to_owned());
        self.blocking(move |store| {
            let path = store.path(&key);
            if !store.has_parent(&path)? {
                return Ok(false);
            }
            let _lock = DirectoryLock::acquire(path.parent().unwrap_or(&store.root))?;
            store.remove(&key, |info| info.etag == etag)
        })
        .await
    }

    async fn touch(&self, key: &CacheKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.blocking(move |store| match store.open(&key)? {
            Some((file, _)) => usage::touch(&file).map_err(io(&store.path(&key))),
            None => Ok(()),
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
            DirectoryStore::visit_files(&store.root, &mut |path, name, metadata| {
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
