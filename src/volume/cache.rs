//! The cache of a run's volumes: from the store into a volume and back.

mod content;
mod describe;
mod download;
mod failure;
mod pack;
mod transfer;
mod unpack;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::content::Content;
pub use self::describe::describe;
pub use self::download::{Downloaded, unpack_options};
use self::failure::{Replaces, RestoreError};
use self::transfer::Transfer;
use super::{Ended, Usage, VolumeName};
use crate::cache::{
    CacheConfig, CacheKey, CacheStore, CacheWhen, KEY_VERSION, Metadata, ObjectInfo, PutCondition,
    RestoreSource, StoreError,
};
use crate::context::EventSink;
use crate::driver::{Driver, Volume};
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};
use archive::{Budget, Compression, Snapshot, Stage, TreeDigest};

/// How many volumes are transferred at the same time. Each one uses all cores and several
/// connections already; more of them would only need more memory.
const TURNS: usize = 3;

/// Memory for the content of all archives that are being packed or unpacked, in bytes: a reserve for each
/// of them, and about as much to be lent.
const MEMORY: usize = 112 << 20;

/// How the digest of a tree is computed: another way is another number.
const DIGEST_VERSION: u64 = 1;

/// How often a restore begins again because another run has replaced the archive meanwhile.
const RESTARTS: u32 = 2;

/// How long the end of a run waits for the clean-up of what killed runs left.
const SWEEPING: Duration = Duration::from_secs(10);

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
    /// Fires with it, or before, when nobody can use a restored volume any more.
    restores: CancellationToken,
    /// Who uploads, for the next one who wonders.
    writer: String,
    access: OnceCell<Access>,
    turns: Semaphore,
    budget: Budget,
    failures: Mutex<Vec<String>>,
    /// Clears up what killed runs left in the store.
    sweep: Mutex<Option<JoinHandle<()>>>,
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
    replaces: Replaces,
}

impl Restored {
    fn nothing(outcome: CacheOutcome) -> Self {
        Self { outcome, digest: None, snapshot: None, replaces: Replaces::Anything }
    }
}

/// A restore that failed, and what may be persisted all the same.
struct Failure {
    reason: String,
    replaces: Replaces,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { replaces: Replaces::Nothing(reason.clone()), reason }
    }
}

impl Failure {
    fn new(error: &RestoreError, source: &RestoreSource, info: &ObjectInfo) -> Self {
        let reason = error.to_string();
        match (error.is_damage(), source.is_own) {
            (true, true) => Self { reason, replaces: Replaces::Version(info.etag.clone()) },
            // There was nothing under the volume's own key.
            (true, false) => Self { reason, replaces: Replaces::Anything },
            (false, _) => reason.into(),
        }
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
            restores: cancel.child_token(),
            cancel,
            writer,
            access: OnceCell::new(),
            turns: Semaphore::new(TURNS),
            budget: Budget::new(MEMORY),
            failures: Mutex::default(),
            sweep: Mutex::default(),
        }
    }

    /// Asks the store once what it can be used for, and tells the user if that is less than wanted. Ends
    /// with [`Access::None`] as soon as nothing is wanted of the cache any more.
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
                self.start_sweep();
            }
            Access::Full
        };
        tokio::select! {
            biased;
            access = self.access.get_or_init(probe) => *access,
            () = self.cancel.cancelled() => Access::None,
        }
    }

    /// Begins to clear up what killed runs left, while volumes are restored.
    fn start_sweep(&self) {
        let store = self.store.clone();
        let sweep = tokio::spawn(async move {
            // What a killed run left is not worth a word, and neither is a failure to clear it.
            _ = store.sweep().await;
        });
        *lock(&self.sweep) = Some(sweep);
    }

    /// Ends the restores that are under way, and those that are yet to begin.
    pub fn end_restores(&self) {
        self.restores.cancel();
    }

    /// What went wrong so far, in the words of the warnings.
    pub fn failures(&self) -> Vec<String> {
        self.lock_failures().clone()
    }

    /// Waits until nothing of what was cancelled is left in the store.
    pub async fn close(&self) {
        let sweep = lock(&self.sweep).take();
        if let Some(mut sweep) = sweep {
            tokio::select! {
                _ = &mut sweep => {}
                // The next run goes on with it.
                () = tokio::time::sleep(SWEEPING) => sweep.abort(),
                () = self.cancel.cancelled() => sweep.abort(),
            }
        }
        self.store.close().await;
    }

    /// Fills a volume that is empty from the cache, or leaves it empty.
    pub async fn restore(&self, driver: &dyn Driver, volume: &Volume) -> Restored {
        if !self.config.policy.pulls() {
            return Restored::nothing(CacheOutcome::Skipped);
        }
        let started = Instant::now();
        let mut report = self.report(&volume.name, CacheOperation::Restore);
        let access = tokio::select! {
            biased;
            () = self.restores.cancelled() => Access::None,
            access = self.probe() => access,
        };
        if access == Access::None {
            let is_cancelled = self.restores.is_cancelled();
            (report.reason, report.outcome) = match is_cancelled {
                true => (transfer::CANCELLED.to_owned(), CacheOutcome::Skipped),
                false => (UNUSED.to_owned(), CacheOutcome::Failed),
            };
            let restored = Restored::nothing(report.outcome);
            self.events.send(RunEvent::CacheFinished(report)).await;
            return restored;
        }
        let result = self.try_restore(driver, volume, &mut report).await;
        report.duration_ms = millis(started.elapsed());
        let restored = match result {
            Ok(restored) => restored,
            Err(failure) if self.restores.is_cancelled() => {
                report.reason = failure.reason;
                Restored::nothing(CacheOutcome::Skipped)
            }
            Err(Failure { reason, replaces }) => {
                self.failed(format!(
                    "volume `{}` starts empty, restoring it from `{}` failed: {reason}",
                    volume.name, report.key
                ));
                report.reason = reason;
                Restored { replaces, ..Restored::nothing(CacheOutcome::Failed) }
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
    ) -> Result<Restored, Failure> {
        let _turn = self.turn(&self.restores).await?;
        let sources = self.config.sources(&volume.name).map_err(|error| error.to_string())?;
        let mut misses = Vec::new();
        for source in &sources {
            if let Some(restored) =
                self.restore_from(driver, volume, source, report, &mut misses).await?
            {
                return Ok(restored);
            }
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

    /// Restores from one key, or says in `misses` why there is nothing to restore.
    async fn restore_from(
        &self,
        driver: &dyn Driver,
        volume: &Volume,
        source: &RestoreSource,
        report: &mut CacheReport,
        misses: &mut Vec<String>,
    ) -> Result<Option<Restored>, Failure> {
        let (key, started) = (&source.key, tokio::time::Instant::now());
        let mut restarts = 0;
        loop {
            // All attempts together have one budget.
            let transfer = Transfer::since(started, &self.config, &self.restores);
            let downloading = transfer.enter(Stage::Download);
            let found = transfer.bounded(self.store.get(key)).await?;
            drop(downloading);
            let Some((info, download)) = found.map_err(|error| error.to_string())? else {
                misses.push(format!("no `{key}`"));
                return Ok(None);
            };
            if source.is_legacy && info.metadata.key_version.is_some() {
                misses.push(format!("`{key}` is of another volume"));
                return Ok(None);
            }
            if let Some(age) = self.expired(&info) {
                misses.push(format!("`{key}` is {age} old"));
                return Ok(None);
            }
            report.key = key.to_string();
            report.bytes = info.size;
            if restarts == 0 {
                self.events
                    .send(RunEvent::CacheRestoring {
                        volume: report.volume.clone(),
                        key: report.key.clone(),
                        bytes: info.size,
                    })
                    .await;
            }
            let stored = &info.metadata;
            let unpacked = unpack::into(self, driver, volume, stored, download, transfer).await;
            let unpacked = match unpacked {
                Ok(unpacked) => unpacked,
                Err(error) if error.is_changed() && restarts < RESTARTS => {
                    restarts += 1;
                    continue;
                }
                Err(error) => return Err(Failure::new(&error, source, &info)),
            };
            for notice in unpacked.notices {
                self.events.notice(format!("volume `{}`: {notice}", volume.name));
            }
            report.content_bytes = unpacked.bytes;
            let outcome = if source.is_own { CacheOutcome::Hit } else { CacheOutcome::Fallback };
            return Ok(Some(Restored {
                outcome,
                // Not what the store says of it: that may be of another archive.
                digest: unpacked.digest,
                snapshot: Some(Arc::new(unpacked.snapshot)),
                replaces: Replaces::Anything,
            }));
        }
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
        if self.probe().await != Access::Full && !self.cancel.is_cancelled() {
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
        if let Some(reason) = &usage.torn {
            return Some(reason.clone());
        }
        match restored {
            None => Some("the pipeline ended before it was restored".to_owned()),
            Some(restored)
                if restored.outcome == CacheOutcome::Skipped && self.config.policy.pulls() =>
            {
                Some("its restore was cancelled".to_owned())
            }
            Some(Restored { replaces: Replaces::Nothing(reason), .. }) => {
                Some(format!("the archive in the cache may be good, restoring it failed: {reason}"))
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
        let _turn = self.turn(&self.cancel).await?;
        let key = self.config.key(&volume.name).map_err(|error| error.to_string())?;
        let hit = restored.filter(|restored| restored.outcome == CacheOutcome::Hit);
        let known = restored.and_then(|restored| restored.snapshot.clone());
        let condition = match restored.map(|restored| &restored.replaces) {
            Some(Replaces::Version(etag)) => PutCondition::Version(etag.clone()),
            _ => PutCondition::None,
        };
        let mut compare = true;
        loop {
            let transfer = Transfer::start(&self.config, &self.cancel);
            let downloading = transfer.enter(Stage::Download);
            let stored = transfer
                .bounded(describe(&*self.store, &key))
                .await?
                .map_err(|error| error.to_string())?;
            drop(downloading);
            if let PutCondition::Version(etag) = &condition
                && stored.as_ref().is_none_or(|stored| stored.etag != *etag)
            {
                report.reason = replaced(&key);
                return Ok(CacheOutcome::Skipped);
            }
            // A damaged one is to be replaced whatever it says of itself.
            let stored = stored
                .filter(|stored| self.expired(stored).is_none() && condition == PutCondition::None);
            let current = self.current(hit, stored.as_ref());
            // A look at all files before they are packed is worth its time only if it may turn out that
            // they need not be, or if nothing but the metadata has a place for their digest.
            let look =
                compare && (!current.is_empty() || self.config.compression != Compression::Zstd);
            let mut metadata = Metadata {
                writer: Some(self.writer.clone()),
                version: Some(DIGEST_VERSION),
                key_version: Some(KEY_VERSION),
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
            match pack::from(self, content, &key, metadata, &condition, transfer).await? {
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
                pack::Outcome::Replaced => {
                    report.reason = replaced(&key);
                    return Ok(CacheOutcome::Skipped);
                }
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

    async fn turn(
        &self,
        cancel: &CancellationToken,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
        tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|error| error.to_string()),
            () = cancel.cancelled() => Err(transfer::CANCELLED.to_owned()),
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
        lock(&self.failures)
    }
}

/// Why a damaged archive was not replaced in the end.
fn replaced(key: &CacheKey) -> String {
    format!("another run has replaced `{key}`, which was damaged when it was read")
}

/// Nobody panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
