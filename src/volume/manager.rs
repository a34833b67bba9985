//! Creates the volumes of a run, each name once, and keeps those that have one in the cache.
//!
//! A volume is unpacked beside its place and moved there by a rename: it is whole or empty, also for who
//! looks meanwhile. So `createVolume` need not wait for the restore. Tasks that mount the volume do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{Restored, VolumeCache};
use super::{RunOutcome, VolumeName};
use crate::driver::{Driver, DriverError, Volume};
use crate::event::EventSink;
use crate::event::RunEvent;
use crate::task::Mount;

pub struct VolumeManager {
    driver: Arc<dyn Driver>,
    events: EventSink,
    cache: Option<Arc<VolumeCache>>,
    volumes: Mutex<HashMap<VolumeName, Arc<OnceCell<Arc<KnownVolume>>>>>,
    anonymous: AtomicU64,
    /// What may still write to the place of the volumes: their creation and their restores.
    work: TaskTracker,
    /// Fires when no more volumes are wanted.
    closing: CancellationToken,
}

/// A volume of the run.
struct KnownVolume {
    volume: Volume,
    /// As it was asked for first, in bytes.
    size: Option<u64>,
    /// What its restore came to, as soon as that has ended. `None` for a volume that no cache has to
    /// do with.
    restored: Option<watch::Receiver<Option<Arc<Restored>>>>,
    usage: Mutex<Usage>,
}

/// What tasks did to a volume.
#[derive(Clone, Default)]
pub struct Usage {
    pub mounted: bool,
    /// What did not end by itself first while it had the volume mounted, as a sentence: it may have been in
    /// the middle of a write.
    pub dirty: Option<String>,
}

impl VolumeManager {
    pub fn new(
        driver: Arc<dyn Driver>,
        events: EventSink,
        cache: Option<Arc<VolumeCache>>,
    ) -> Self {
        Self {
            driver,
            events,
            cache,
            volumes: Mutex::default(),
            anonymous: AtomicU64::new(0),
            work: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// The volume of this name, created when it is asked for first; without a name, a new volume. To
    /// ask for another size than the volume has is an error.
    ///
    /// However many ask for one name at the same time, it is created once, and its restore from the
    /// cache started once. That goes on in the background: whoever uses the volume waits with
    /// [`ready`](Self::ready).
    pub async fn create(
        &self,
        name: Option<VolumeName>,
        size: Option<u64>,
    ) -> Result<Volume, DriverError> {
        // Before the look at `closing`, so that `settle` waits for what it did not keep from beginning.
        let _working = self.work.token();
        if self.closing.is_cancelled() {
            return Err(DriverError::Refused("the run has ended".to_owned()));
        }
        // Nobody could find an anonymous volume again in a cache.
        let cache = self.cache.as_ref().filter(|_| name.is_some());
        let name = name.unwrap_or_else(|| self.next_anonymous());
        let cell = self.volumes().entry(name.clone()).or_default().clone();
        let kept = cell
            .get_or_try_init(|| async {
                let volume = self.driver.create_volume(&name, size).await?;
                self.events
                    .send(RunEvent::VolumeCreated {
                        volume: name.to_string(),
                        path: volume.path.clone(),
                    })
                    .await;
                let restored = cache.map(|cache| self.restore(cache.clone(), volume.clone()));
                Ok(Arc::new(KnownVolume { volume, size, restored, usage: Mutex::default() }))
            })
            .await?;
        if size.is_some() && size != kept.size {
            let text = |size: Option<u64>| match size {
                Some(bytes) => format!("with a size of {bytes} bytes"),
                None => "without a size".to_owned(),
            };
            return Err(DriverError::Refused(format!(
                "volume `{}` has been created {} and is now asked for {}, use one size or another name",
                kept.volume.name,
                text(kept.size),
                text(size)
            )));
        }
        Ok(kept.volume.clone())
    }

    /// Which of these volumes have not got their content yet, as a text for people each.
    pub fn being_restored(&self, mounts: &[Mount]) -> Vec<String> {
        let is_being_restored = |kept: &Arc<KnownVolume>| {
            kept.restored.as_ref().is_some_and(|restored| restored.borrow().is_none())
        };
        let volumes = self.mounted(mounts).into_iter().filter(is_being_restored);
        volumes.map(|kept| format!("volume `{}`", kept.volume.name)).collect()
    }

    /// Waits until these volumes have their content, for a task that is about to mount them.
    pub async fn ready(&self, mounts: &[Mount]) {
        for kept in self.mounted(mounts) {
            lock(&kept.usage).mounted = true;
            if let Some(mut restored) = kept.restored.clone() {
                // A sender that went away without a word leaves an empty volume like any other
                // failure.
                _ = restored.wait_for(Option::is_some).await;
            }
        }
    }

    /// A volume of the run, when it has its content.
    pub async fn content(&self, name: &VolumeName) -> Result<Volume, DriverError> {
        let cell = self.volumes().get(name).cloned();
        let Some(known) = cell.as_ref().and_then(|cell| cell.get()) else {
            return Err(DriverError::Refused(format!(
                "there is no volume `{name}`, create it before it is read"
            )));
        };
        if let Some(mut restored) = known.restored.clone() {
            // As for a task: a failed restore leaves an empty volume.
            _ = restored.wait_for(Option::is_some).await;
        }
        Ok(known.volume.clone())
    }

    /// Remembers that something did not end by itself while it had these volumes mounted.
    pub fn mark_dirty(&self, mounts: &[Mount], by: &str) {
        let changeable: Vec<Mount> =
            mounts.iter().filter(|mount| !mount.read_only).cloned().collect();
        for kept in self.mounted(&changeable) {
            let dirty = || format!("{by} was ended while it had the volume mounted");
            lock(&kept.usage).dirty.get_or_insert_with(dirty);
        }
    }

    /// Starts a restore that no caller can cancel by going away.
    fn restore(
        &self,
        cache: Arc<VolumeCache>,
        volume: Volume,
    ) -> watch::Receiver<Option<Arc<Restored>>> {
        let (sender, receiver) = watch::channel(None);
        self.work.spawn(async move {
            let restored = cache.restore(&volume).await;
            sender.send_replace(Some(Arc::new(restored)));
        });
        receiver
    }

    /// Ends what goes on in the background, for a pipeline that did not wait for it. Nothing writes to the
    /// place of the volumes any more when this has returned, but for tasks.
    pub async fn settle(&self) {
        self.closing.cancel();
        if let Some(cache) = &self.cache {
            cache.end_restores();
        }
        self.work.close();
        self.work.wait().await;
    }

    /// Persists what has changed, all volumes at the same time, when no task is running any more.
    /// Called a second time, it finds nothing to do.
    pub async fn persist(&self, ended: RunOutcome) {
        let Some(cache) = &self.cache else { return };
        let volumes = std::mem::take(&mut *self.volumes());
        let mut kept: Vec<_> =
            volumes.into_values().filter_map(|cell| cell.get().cloned()).collect();
        kept.sort_by(|a, b| a.volume.name.cmp(&b.volume.name));
        let persists = kept.iter().filter_map(|kept| {
            let restored = kept.restored.as_ref()?.borrow().clone();
            let usage = lock(&kept.usage).clone();
            Some(cache.persist(&kept.volume, restored, usage, ended))
        });
        join_all(persists).await;
    }

    fn mounted(&self, mounts: &[Mount]) -> Vec<Arc<KnownVolume>> {
        let volumes = self.volumes();
        let kept = |mount: &Mount| volumes.get(&mount.volume)?.get().cloned();
        mounts.iter().filter_map(kept).collect()
    }

    fn volumes(&self) -> MutexGuard<'_, HashMap<VolumeName, Arc<OnceCell<Arc<KnownVolume>>>>> {
        lock(&self.volumes)
    }

    /// A name that no pipeline has used so far.
    fn next_anonymous(&self) -> VolumeName {
        let volumes = self.volumes();
        loop {
            let number = self.anonymous.fetch_add(1, Ordering::Relaxed) + 1;
            let name = VolumeName::new(format!("anonymous-{number}"))
                .expect("letters and digits are a volume name");
            if !volumes.contains_key(&name) {
                return name;
            }
        }
    }
}

/// Nobody panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
