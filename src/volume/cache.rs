//! The cache of a run's volumes: from the store into a volume and back.

mod content;
mod describe;
mod download;
mod pack;
mod transfer;
mod unpack;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use self::content::Content;
pub use self::describe::describe;
pub use self::download::{Downloaded, unpack_options};
use self::transfer::Transfer;
use super::{Ended, Usage, VolumeName};
use crate::archive::{Budget, Compression, Snapshot, Stage, TreeDigest};
use crate::cache::{CacheConfig, CacheStore, CacheWhen, Metadata, ObjectInfo, StoreError};
use crate::context::EventSink;
use crate::driver::{Driver, Volume};
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};

/// How many volumes are transferred at the same time. Each one uses all cores and several
/// connections already; more of them would only need more memory.
const TURNS: usize = 3;

/// Memory for the content of all archives that are being packed or unpacked, in bytes: a reserve for each
/// of them, and about as much to be lent.
const MEMORY: usize = 112 << 20;

/// How the digest of a tree is computed: another way is another number.
const DIGEST_VERSION: u64 = 1;

/// Said of each volume when the reason was told before.
const UNUSED: &str = "the cache cannot be used";

/// Restores and persists volumes. Whatever goes wrong is a warning, a report and an entry in
/// [`failures`](Self::failures), never an error: a run goes on without its cache.
pub struct VolumeCache {
    config: CacheConfig,
    store: Arc<dyn CacheStore>,
    events: EventSink,
    /// Fires when nothing that is still being transferred is wanted any more.
    cancel: CancellationToken,
    /// Who uploads, for the next one who wonders.
    writer: String,
    access: OnceCell<Access>,
    turns: Semaphore,
    budget: Budget,
    failures: Mutex<Vec<String>>,
}

/// What a store can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Full,
    ReadOnly,
    None,
}

/// What a volume was restored from, and what it held then.
#[derive(Debug)]
pub struct Restored {
    pub outcome: CacheOutcome,
    /// Of the tree that was read.
    digest: Option<TreeDigest>,
    snapshot: Option<Arc<Snapshot>>,
}

impl Restored {
    fn nothing(outcome: CacheOutcome) -> Self {
        Self { outcome, digest: None, snapshot: None }
    }
}

impl VolumeCache {
    /// `cancel` ends what is being transferred.
    pub fn new(
        config: CacheConfig,
        store: Arc<dyn CacheStore>,
        writer: String,
        events: EventSink,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            config,
            store,
            events,
            cancel,
            writer,
            access: OnceCell::new(),
            turns: Semaphore::new(TURNS),
            budget: Budget::new(MEMORY),
            failures: Mutex::default(),
        }
    }

    /// Asks the store once what it can be used for, and tells the user if that is less than wanted.
    pub async fn probe(&self) -> Access {
        let probe = async || {
            let writes = self.config.policy.pushes();
            match self.store.probe(writes).await {
                Ok(()) => {}
                // It may still be good for reading.
                Err(StoreError::Denied(reason))
                    if writes
                        && self.config.policy.pulls()
                        && self.store.probe(false).await.is_ok() =>
                {
                    self.failed(format!("volumes are not persisted: {reason}"));
                    return Access::ReadOnly;
                }
                Err(error) => {
                    self.failed(format!("the cache is not used: {error}"));
                    return Access::None;
                }
            }
            if writes {
                // What a killed run left is not worth a word, and neither is a failure to clear it.
                _ = self.store.sweep().await;
            }
            Access::Full
        };
        *self.access.get_or_init(probe).await
    }

    /// What went wrong so far, in the words of the warnings.
    pub fn failures(&self) -> Vec<String> {
        self.lock_failures().clone()
    }

    /// Waits until nothing of what was cancelled is left in the store.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Fills a volume that is empty from the cache, or leaves it empty.
    pub async fn restore(&self, driver: &dyn Driver, volume: &Volume) -> Restored {
        if !self.config.policy.pulls() {
            return Restored::nothing(CacheOutcome::Skipped);
        }
        let started = Instant::now();
        let mut report = self.report(&volume.name, CacheOperation::Restore);
        if self.probe().await == Access::None {
            report.reason = UNUSED.to_owned();
            self.events.send(RunEvent::CacheFinished(report)).await;
            return Restored::nothing(CacheOutcome::Failed);
        }
        let result = self.try_restore(driver, volume, &mut report).await;
        report.duration_ms = millis(started.elapsed());
        let restored = match result {
            Ok(restored) => restored,
            Err(reason) if self.cancel.is_cancelled() => {
                report.reason = reason;
                Restored::nothing(CacheOutcome::Skipped)
            }
            Err(reason) => {
                self.failed(format!(
                    "volume `{}` starts empty, restoring it from `{}` failed: {reason}",
                    volume.name, report.key
                ));
                report.reason = reason;
                Restored::nothing(CacheOutcome::Failed)
            }
        };
        report.outcome = restored.outcome;
        self.events.send(RunEvent::CacheFinished(report)).await;
        restored
    }

    async fn try_restore(
        &self,
        driver: &dyn Driver,
        volume: &Volume,
        report: &mut CacheReport,
    ) -> Result<Restored, String> {
        let _turn = self.turn().await?;
        let own = self.config.key(&volume.name).map_err(|error| error.to_string())?;
        let mut misses = Vec::new();
        let fallbacks =
            self.config.fallback_keys(&volume.name).map_err(|error| error.to_string())?;
        for (index, key) in std::iter::once(own).chain(fallbacks).enumerate() {
            let transfer = Transfer::start(&self.config, &self.cancel);
            let downloading = transfer.enter(Stage::Download);
            let found = transfer.bounded(self.store.get(&key)).await?;
            drop(downloading);
            let Some((info, download)) = found.map_err(|error| error.to_string())? else {
                misses.push(format!("no `{key}`"));
                continue;
            };
            if let Some(age) = self.expired(&info) {
                misses.push(format!("`{key}` is {age} old"));
                continue;
            }
            report.key = key.to_string();
            report.bytes = info.size;
            self.events
                .send(RunEvent::CacheRestoring {
                    volume: report.volume.clone(),
                    key: report.key.clone(),
                    bytes: info.size,
                })
                .await;
            let stored = &info.metadata;
            let unpacked = unpack::into(self, driver, volume, stored, download, transfer).await?;
            for notice in unpacked.notices {
                self.events.notice(format!("volume `{}`: {notice}", volume.name));
            }
            report.content_bytes = unpacked.bytes;
            let outcome = if index == 0 { CacheOutcome::Hit } else { CacheOutcome::Fallback };
            // Not what the store says of it: that may be of another archive.
            let digest = unpacked.digest;
            return Ok(Restored { outcome, digest, snapshot: Some(Arc::new(unpacked.snapshot)) });
        }
        report.reason = misses.join(", ");
        self.events
            .send(RunEvent::CacheMiss {
                volume: report.volume.clone(),
                key: report.key.clone(),
                reason: report.reason.clone(),
            })
            .await;
        Ok(Restored::nothing(CacheOutcome::Miss))
    }

    /// Puts a volume into the cache if that is wanted and the cache does not have the same already.
    pub async fn persist(
        &self,
        driver: &dyn Driver,
        volume: &Volume,
        restored: Option<Arc<Restored>>,
        usage: Usage,
        ended: Ended,
    ) {
        if !self.config.policy.pushes() {
            return;
        }
        let started = Instant::now();
        let mut report = self.report(&volume.name, CacheOperation::Persist);
        if self.probe().await != Access::Full {
            report.reason = UNUSED.to_owned();
            self.events.send(RunEvent::CacheFinished(report)).await;
            return;
        }
        let result = match self.unwanted(restored.as_deref(), &usage, ended) {
            Some(reason) => {
                report.reason = reason;
                Ok(CacheOutcome::Skipped)
            }
            None => {
                self.try_persist(driver, volume, restored.as_deref(), &usage, &mut report).await
            }
        };
        report.duration_ms = millis(started.elapsed());
        report.outcome = result.unwrap_or_else(|reason| {
            self.failed(format!(
                "volume `{}` was not persisted, `{}` stays as it was: {reason}",
                volume.name, report.key
            ));
            report.reason = reason;
            CacheOutcome::Failed
        });
        self.events.send(RunEvent::CacheFinished(report)).await;
    }

    /// Why a volume is not to be persisted, whatever it holds.
    fn unwanted(&self, restored: Option<&Restored>, usage: &Usage, ended: Ended) -> Option<String> {
        let wanted = match ended {
            Ended::Succeeded => self.config.when != CacheWhen::Failure,
            Ended::Failed => self.config.when != CacheWhen::Success,
            Ended::Aborted => false,
        };
        if !wanted {
            return Some(
                match ended {
                    Ended::Succeeded => "the pipeline succeeded",
                    Ended::Failed => "the pipeline failed",
                    Ended::Aborted => "the run was aborted",
                }
                .to_owned(),
            );
        }
        if let Some(task) = &usage.torn_by {
            return Some(format!("task `{task}` was ended while it had the volume mounted"));
        }
        match restored {
            None => Some("the pipeline ended before it was restored".to_owned()),
            Some(restored)
                if restored.outcome == CacheOutcome::Skipped && self.config.policy.pulls() =>
            {
                Some("its restore was cancelled".to_owned())
            }
            Some(_) => None,
        }
    }

    async fn try_persist(
        &self,
        driver: &dyn Driver,
        volume: &Volume,
        restored: Option<&Restored>,
        usage: &Usage,
        report: &mut CacheReport,
    ) -> Result<CacheOutcome, String> {
        let _turn = self.turn().await?;
        let key = self.config.key(&volume.name).map_err(|error| error.to_string())?;
        let hit = restored.filter(|restored| restored.outcome == CacheOutcome::Hit);
        let known = restored.and_then(|restored| restored.snapshot.clone());
        let is_broken = restored.is_some_and(|found| found.outcome == CacheOutcome::Failed);
        let mut compare = true;
        loop {
            let transfer = Transfer::start(&self.config, &self.cancel);
            let downloading = transfer.enter(Stage::Download);
            let stored = transfer
                .bounded(describe(&*self.store, &key))
                .await?
                .map_err(|error| error.to_string())?
                // One that could not be restored is to be replaced.
                .filter(|stored| self.expired(stored).is_none() && !is_broken);
            drop(downloading);
            let current = self.current(hit, stored.as_ref());
            // A look at all files before they are packed is worth its time only if it may turn out that
            // they need not be, or if nothing but the metadata has a place for their digest.
            let look =
                compare && (!current.is_empty() || self.config.compression != Compression::Zstd);
            let mut metadata = Metadata {
                writer: Some(self.writer.clone()),
                version: Some(DIGEST_VERSION),
                ..Metadata::default()
            };
            let mut is_unchanged = false;
            let is_empty = if look {
                let content = Content::open(driver, volume, &transfer).await?;
                let survey = pack::survey(self, content, known.clone(), &transfer).await?;
                report.content_bytes = survey.bytes;
                is_unchanged = current.contains(&survey.digest);
                metadata.digest = Some(survey.digest.to_string());
                metadata.entries = Some(survey.entries);
                metadata.content_bytes = Some(survey.bytes);
                survey.is_empty()
            } else {
                let content = Content::open(driver, volume, &transfer).await?;
                pack::is_empty(self, content, &transfer).await?
            };
            if is_empty && hit.is_none() {
                report.reason = match usage.mounted {
                    true => "the volume is empty".to_owned(),
                    false => "no task used it".to_owned(),
                };
                return Ok(CacheOutcome::Skipped);
            }
            if is_unchanged {
                return Ok(CacheOutcome::Unchanged);
            }
            if compare {
                self.events
                    .send(RunEvent::CachePersisting {
                        volume: report.volume.clone(),
                        key: report.key.clone(),
                    })
                    .await;
            }
            let content = Content::open(driver, volume, &transfer).await?;
            match pack::from(self, content, &key, metadata, transfer).await? {
                pack::Outcome::Published(packed) => {
                    report.bytes = packed.compressed_bytes;
                    report.content_bytes = packed.bytes;
                    for notice in packed.notices {
                        self.events.notice(format!("volume `{}`: {notice}", volume.name));
                    }
                    return Ok(CacheOutcome::Uploaded);
                }
                // Files have changed since the look at them. Another one would be no better: the object
                // goes with what is known of it when it is packed.
                pack::Outcome::Changing => compare = false,
            }
        }
    }

    /// The digests of trees that need not be uploaded: the cache has them, or one that somebody made of
    /// the same beginnings and that an unchanged volume must not replace.
    fn current(&self, hit: Option<&Restored>, stored: Option<&ObjectInfo>) -> Vec<TreeDigest> {
        let Some(stored) = stored else { return Vec::new() };
        let digest = stored.metadata.digest.as_deref().and_then(|text| text.parse().ok());
        digest.into_iter().chain(hit.and_then(|hit| hit.digest)).collect()
    }

    /// How old an object is, for people, if it is too old to count.
    fn expired(&self, info: &ObjectInfo) -> Option<String> {
        let ttl = self.config.ttl?;
        // An object from the future is as fresh as can be.
        let age = SystemTime::now().duration_since(info.modified).unwrap_or_default();
        let whole = Duration::from_secs(age.as_secs());
        (age > ttl).then(|| humantime::format_duration(whole).to_string())
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
        tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|error| error.to_string()),
            () = self.cancel.cancelled() => Err(transfer::CANCELLED.to_owned()),
        }
    }

    fn report(&self, volume: &VolumeName, operation: CacheOperation) -> CacheReport {
        CacheReport {
            volume: volume.to_string(),
            operation,
            outcome: CacheOutcome::Failed,
            key: self.config.key(volume).map_or_else(|_| String::new(), |key| key.to_string()),
            bytes: 0,
            content_bytes: 0,
            duration_ms: 0,
            reason: String::new(),
        }
    }

    fn failed(&self, message: String) {
        self.events.warning(message.clone());
        self.lock_failures().push(message);
    }

    fn lock_failures(&self) -> MutexGuard<'_, Vec<String>> {
        // Nobody panics while holding it.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
