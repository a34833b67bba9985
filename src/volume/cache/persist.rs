//! From a volume into the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::{Access, Need};
use super::describe::{look, replaceable};
use super::failure::Replaces;
use super::{Restored, UNUSED, VolumeCache, millis};
use crate::driver::Volume;
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};
use crate::volume::{RunOutcome, Usage};
use archive::{Compression, Stage, TreeDigest};
use store::{CacheKey, CacheWhen, KEY_VERSION, Metadata, PutCondition, StoreError};
use transfer::{DIGEST_VERSION, Operation, Outcome, TransferError, TransferReport, Watchdog};

/// Why a persist failed, in words.
struct Failure(String);

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        Self(error.to_string())
    }
}

impl VolumeCache {
    /// Puts a volume into the cache if that is wanted and the cache does not have the same already.
    pub async fn persist(
        &self,
        volume: &Volume,
        restored: Option<Arc<Restored>>,
        usage: Usage,
        ended: RunOutcome,
    ) {
        if !self.config.policy.pushes() {
            return;
        }
        let started = Instant::now();
        let mut report = self.report(&volume.name, CacheOperation::Persist);
        let unwanted = self.unwanted(restored.as_deref(), &usage, ended);
        if unwanted.is_none()
            && self.access(Need::Write).await != Access::Full
            && !self.cancel.is_cancelled()
        {
            report.reason = UNUSED.to_owned();
            self.events.send(RunEvent::CacheFinished(report)).await;
            return;
        }
        let result = match unwanted {
            Some(reason) => {
                report.reason = reason;
                Ok(CacheOutcome::Skipped)
            }
            None => self.try_persist(volume, restored.as_deref(), &usage, &mut report).await,
        };
        if let Ok(CacheOutcome::Uploaded | CacheOutcome::Unchanged) = result
            && let Ok(key) = self.config.key(&volume.name)
        {
            self.used(&key).await;
        }
        report.duration_ms = millis(started.elapsed());
        report.outcome = result.unwrap_or_else(|Failure(reason)| {
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
    fn unwanted(
        &self,
        restored: Option<&Restored>,
        usage: &Usage,
        ended: RunOutcome,
    ) -> Option<String> {
        let wanted = match ended {
            RunOutcome::Succeeded => self.config.when != CacheWhen::Failure,
            RunOutcome::Failed => self.config.when != CacheWhen::Success,
            RunOutcome::Aborted => false,
        };
        if !wanted {
            return Some(
                match ended {
                    RunOutcome::Succeeded => "the pipeline succeeded",
                    RunOutcome::Failed => "the pipeline failed",
                    RunOutcome::Aborted => "the run was aborted",
                }
                .to_owned(),
            );
        }
        if let Some(reason) = &usage.dirty {
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
        volume: &Volume,
        restored: Option<&Restored>,
        usage: &Usage,
        report: &mut CacheReport,
    ) -> Result<CacheOutcome, Failure> {
        let _turn = self.turn(&self.cancel).await?;
        let key = self.config.key(&volume.name).map_err(|error| error.to_string())?;
        let hit = restored.filter(|restored| restored.outcome == CacheOutcome::Hit);
        let known = restored.and_then(|restored| restored.index.clone());
        let damaged = match restored.map(|restored| &restored.replaces) {
            Some(Replaces::Version(etag)) => Some(etag),
            _ => None,
        };
        let mut compare = true;
        loop {
            let started = Instant::now();
            let watchdog = self.watchdog();
            let seen = self.asked(&watchdog, look(&*self.store, &key)).await?;
            let seen = seen.map_err(|error| error.to_string())?;
            if let Some(etag) = damaged
                && seen.as_ref().is_none_or(|seen| seen.info.etag != *etag)
            {
                report.reason = replaced(&key);
                return Ok(CacheOutcome::Skipped);
            }
            // A damaged one is to be replaced whatever it says of itself.
            let stored = seen.as_ref().map(|seen| &seen.info);
            let stored = stored.filter(|stored| !self.is_expired(stored) && damaged.is_none());
            // An unchanged volume must not replace what somebody else made of the same beginnings.
            let beginning = hit.and_then(|hit| hit.digest).filter(|_| stored.is_some());
            let claimed = stored.and_then(|stored| stored.metadata.digest.as_deref()?.parse().ok());
            // A look at all files before they are packed is worth its time only if it may turn out that
            // they need not be, or if nothing but the metadata has a place for their digest.
            let is_known = beginning.is_some() || claimed.is_some();
            let scan_first = compare && (is_known || self.config.compression != Compression::Zstd);
            let mut metadata = Metadata {
                writer: Some(self.writer.clone()),
                project: self.project.clone(),
                version: Some(DIGEST_VERSION),
                key_version: Some(KEY_VERSION),
                ..Metadata::default()
            };
            let mut is_unchanged = false;
            let is_empty = if scan_first {
                let operation = Operation::Scan { known: known.clone() };
                let scan = self.job(operation, volume, started).await?;
                report.content_bytes = scan.content_bytes;
                let digest = scan.digest;
                is_unchanged = beginning.is_some() && beginning == digest;
                if let Some(digest) = digest
                    && !is_unchanged
                    && claimed == Some(digest)
                {
                    is_unchanged = self.has(&key, digest).await;
                }
                metadata.digest = digest.map(|digest| digest.to_string());
                metadata.entries = Some(scan.entries);
                metadata.content_bytes = Some(scan.content_bytes);
                scan.outcome == Outcome::Empty
            } else {
                self.job(Operation::LookInside, volume, started).await?.outcome == Outcome::Empty
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
            let compression = self.config.compression;
            let watchdog = self.watchdog();
            let replaceable = replaceable(&*self.store, &key, seen.as_ref(), compression);
            let condition = self.asked(&watchdog, replaceable).await?;
            let condition = match (condition, damaged) {
                (Ok(_), Some(etag)) => PutCondition::Version(etag.clone()),
                (Ok(condition), None) => condition,
                (Err(error @ StoreError::Foreign { .. }), _) => {
                    report.reason = error.to_string();
                    return Ok(CacheOutcome::Skipped);
                }
                (Err(error), _) => return Err(error.to_string().into()),
            };
            if compare {
                self.events
                    .send(RunEvent::CachePersisting {
                        volume: report.volume.clone(),
                        key: report.key.clone(),
                    })
                    .await;
            }
            let key = key.clone();
            let operation = Operation::Persist { key: key.clone(), metadata, condition };
            let persisted =
                match self.transfer(operation, started, volume, report, &self.cancel).await {
                    Err(TransferError::Conflict(reason)) => {
                        report.reason = match damaged {
                            Some(_) => replaced(&key),
                            None => reason,
                        };
                        return Ok(CacheOutcome::Skipped);
                    }
                    persisted => persisted?,
                };
            match persisted.outcome {
                Outcome::Published => {
                    report.bytes = persisted.bytes;
                    report.content_bytes = persisted.content_bytes;
                    for notice in persisted.notices {
                        self.events.notice(format!("volume `{}`: {notice}", volume.name));
                    }
                    return Ok(CacheOutcome::Uploaded);
                }
                // Files have changed since the look at them. Another one would be no better: the object
                // goes with what is known of it when it is packed.
                Outcome::Changing => compare = false,
                other => {
                    return Err(format!("internal error: a persist came to {other:?}").into());
                }
            }
        }
    }

    /// Whether the cache has a tree, found out by reading its archive to the end. What an archive and its
    /// metadata say of themselves proves nothing: whoever has changed the one may have left the other.
    async fn has(&self, key: &CacheKey, digest: TreeDigest) -> bool {
        let job = self.describe(Operation::Verify { key: key.clone() }, Duration::ZERO);
        // Whatever cannot be read now is replaced.
        let verified = self.execute(&job, None, None, &self.cancel).await;
        verified.is_ok_and(|found| found.digest == Some(digest))
    }

    /// Carries out one of the jobs of a persist, which have one budget together.
    async fn job(
        &self,
        operation: Operation,
        volume: &Volume,
        started: Instant,
    ) -> Result<TransferReport, TransferError> {
        let job = self.describe(operation, started.elapsed());
        self.execute(&job, Some(volume), None, &self.cancel).await
    }

    fn watchdog(&self) -> Watchdog {
        Watchdog::start((&self.config).into(), self.store.retries(), &self.cancel)
    }

    /// Waits for an answer of the store.
    async fn asked<T>(
        &self,
        watchdog: &Watchdog,
        answer: impl Future<Output = T>,
    ) -> Result<T, TransferError> {
        let _downloading = watchdog.enter(Stage::Download);
        watchdog.bounded(answer).await
    }
}

/// Why a damaged archive was not replaced in the end.
fn replaced(key: &CacheKey) -> String {
    format!("another run has replaced `{key}`, which was damaged when it was read")
}
