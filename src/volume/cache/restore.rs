//! From the store into a volume.

use std::sync::Arc;
use std::time::Instant;

use super::access::{Access, Need};
use super::failure::Replaces;
use super::{CANCELLED, UNUSED, VolumeCache, millis};
use crate::driver::Volume;
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};
use archive::{FileIndex, TreeDigest};
use store::RestoreSource;
use transfer::{Candidate, Operation, Outcome, TransferError};

/// What a volume was restored from, and what it held then.
#[derive(Debug)]
pub struct Restored {
    pub outcome: CacheOutcome,
    /// Of the tree that was read.
    pub(super) digest: Option<TreeDigest>,
    pub(super) index: Option<Arc<FileIndex>>,
    pub(super) replaces: Replaces,
}

impl Restored {
    fn nothing(outcome: CacheOutcome) -> Self {
        Self { outcome, digest: None, index: None, replaces: Replaces::Anything }
    }
}

/// A restore that failed, and what may be persisted all the same.
struct Failure {
    reason: String,
    replaces: Replaces,
}

impl Failure {
    /// The archive may be good, unless the transfer has read it to its end and found it wrong.
    fn new(error: &TransferError, sources: &[RestoreSource]) -> Self {
        let reason = error.to_string();
        let replaces = match error {
            TransferError::Corrupt { candidate, etag, .. } => {
                match sources.get(*candidate).is_some_and(|source| source.is_own) {
                    true => Replaces::Version(etag.clone()),
                    // There was nothing under the volume's own key.
                    false => Replaces::Anything,
                }
            }
            _ => Replaces::Nothing(reason.clone()),
        };
        Self { reason, replaces }
    }
}

impl VolumeCache {
    /// Fills a volume that is empty from the cache, or leaves it empty.
    pub async fn restore(&self, volume: &Volume) -> Restored {
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
                true => (CANCELLED.to_owned(), CacheOutcome::Skipped),
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
        let result = self.try_restore(volume, &mut report).await;
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
        volume: &Volume,
        report: &mut CacheReport,
    ) -> Result<Restored, Failure> {
        let local =
            |reason: String| Failure { replaces: Replaces::Nothing(reason.clone()), reason };
        let _turn = self.turn(&self.restores).await.map_err(local)?;
        let sources = self.config.sources(&volume.name);
        let sources = sources.map_err(|error| local(error.to_string()))?;
        let candidate = |source: &RestoreSource| Candidate {
            key: source.key.clone(),
            is_legacy: source.is_legacy,
            max_age: self.config.ttl,
        };
        let candidates = sources.iter().map(candidate).collect();
        let (operation, started) = (Operation::Restore { candidates }, Instant::now());
        let restored = self.transfer(operation, started, volume, report, &self.restores).await;
        let restored = restored.map_err(|error| Failure::new(&error, &sources))?;
        let number = match restored.outcome {
            Outcome::Restored { candidate } => candidate,
            Outcome::Missing { misses } => {
                let misses: Vec<String> = misses.iter().map(ToString::to_string).collect();
                report.reason = misses.join(", ");
                self.events
                    .send(RunEvent::CacheMiss {
                        volume: report.volume.clone(),
                        key: report.key.clone(),
                        reason: report.reason.clone(),
                    })
                    .await;
                return Ok(Restored::nothing(CacheOutcome::Miss));
            }
            other => return Err(local(format!("internal error: a restore came to {other:?}"))),
        };
        for notice in restored.notices {
            self.events.notice(format!("volume `{}`: {notice}", volume.name));
        }
        report.content_bytes = restored.content_bytes;
        if let Some(source) = sources.get(number) {
            self.used(&source.key).await;
        }
        self.compare_projects(&volume.name, restored.object.as_ref());
        let is_own = sources.get(number).is_some_and(|source| source.is_own);
        Ok(Restored {
            outcome: if is_own { CacheOutcome::Hit } else { CacheOutcome::Fallback },
            // Not what the store says of it: that may be of another archive.
            digest: restored.digest,
            index: restored.index,
            replaces: Replaces::Anything,
        })
    }
}
