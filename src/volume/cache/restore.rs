//! From the store into a volume.

use std::sync::Arc;
use std::time::Instant;

use super::access::{Access, Need};
use super::failure::{Replaces, RestoreError};
use super::transfer::{self, Transfer};
use super::{UNUSED, VolumeCache, millis, unpack};
use crate::cache::{ObjectInfo, RestoreSource};
use crate::driver::{Driver, Volume};
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};
use archive::{Snapshot, Stage, TreeDigest};

/// How often a restore begins again because another run has replaced the archive meanwhile.
const RESTARTS: u32 = 2;

/// What a volume was restored from, and what it held then.
#[derive(Debug)]
pub struct Restored {
    pub outcome: CacheOutcome,
    /// Of the tree that was read.
    pub(super) digest: Option<TreeDigest>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) replaces: Replaces,
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
            access = self.access(Need::Read) => access,
        };
        if matches!(access, Access::None | Access::Unavailable) {
            let is_cancelled = self.restores.is_cancelled();
            (report.reason, report.outcome) = match is_cancelled {
                true => (transfer::CANCELLED.to_owned(), CacheOutcome::Skipped),
                false => (UNUSED.to_owned(), CacheOutcome::Failed),
            };
            let mut restored = Restored::nothing(report.outcome);
            if access == Access::Unavailable {
                // The store may come back while the run goes on, and have the archive.
                restored.replaces = Replaces::Nothing(UNUSED.to_owned());
            }
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
            if source.is_legacy && !info.metadata.is_of_old_keys() {
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
}
