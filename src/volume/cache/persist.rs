//! From a volume into the store.

use std::sync::Arc;
use std::time::Instant;

use super::access::{Access, Need};
use super::content::Content;
use super::describe::{look, replaceable};
use super::failure::Replaces;
use super::transfer::Transfer;
use super::{DIGEST_VERSION, Restored, UNUSED, VolumeCache, millis, pack, unpack};
use crate::cache::{CacheKey, CacheWhen, KEY_VERSION, Metadata, PutCondition, StoreError};
use crate::driver::{Driver, Volume};
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};
use crate::volume::{Ended, Usage};
use archive::{Compression, Stage, TreeDigest};

impl VolumeCache {
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
        let damaged = match restored.map(|restored| &restored.replaces) {
            Some(Replaces::Version(etag)) => Some(etag),
            _ => None,
        };
        let mut compare = true;
        loop {
            let transfer = Transfer::start(&self.config, &self.cancel);
            let downloading = transfer.enter(Stage::Download);
            let seen = transfer
                .bounded(look(&*self.store, &key))
                .await?
                .map_err(|error| error.to_string())?;
            drop(downloading);
            if let Some(etag) = damaged
                && seen.as_ref().is_none_or(|seen| seen.info.etag != *etag)
            {
                report.reason = replaced(&key);
                return Ok(CacheOutcome::Skipped);
            }
            // A damaged one is to be replaced whatever it says of itself.
            let stored = seen.as_ref().map(|seen| &seen.info);
            let stored =
                stored.filter(|stored| self.expired(stored).is_none() && damaged.is_none());
            // An unchanged volume must not replace what somebody else made of the same beginnings.
            let beginning = hit.and_then(|hit| hit.digest).filter(|_| stored.is_some());
            let claimed = stored.and_then(|stored| stored.metadata.digest.as_deref()?.parse().ok());
            // A look at all files before they are packed is worth its time only if it may turn out that
            // they need not be, or if nothing but the metadata has a place for their digest.
            let is_known = beginning.is_some() || claimed.is_some();
            let survey_first =
                compare && (is_known || self.config.compression != Compression::Zstd);
            let mut metadata = Metadata {
                writer: Some(self.writer.clone()),
                version: Some(DIGEST_VERSION),
                key_version: Some(KEY_VERSION),
                ..Metadata::default()
            };
            let mut is_unchanged = false;
            let is_empty = if survey_first {
                let content = Content::open(driver, volume, &transfer).await?;
                let survey = pack::survey(self, content, known.clone(), &transfer).await?;
                report.content_bytes = survey.bytes;
                is_unchanged = beginning == Some(survey.digest)
                    || (claimed == Some(survey.digest) && self.has(&key, survey.digest).await);
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
            let downloading = transfer.enter(Stage::Download);
            let compression = self.config.compression;
            let condition = transfer
                .bounded(replaceable(&*self.store, &key, seen.as_ref(), compression))
                .await?;
            drop(downloading);
            let condition = match (condition, damaged) {
                (Ok(_), Some(etag)) => PutCondition::Version(etag.clone()),
                (Ok(condition), None) => condition,
                (Err(error @ StoreError::Foreign { .. }), _) => {
                    report.reason = error.to_string();
                    return Ok(CacheOutcome::Skipped);
                }
                (Err(error), _) => return Err(error.to_string()),
            };
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
                pack::Outcome::Kept(error) => {
                    report.reason = match damaged {
                        Some(_) => replaced(&key),
                        None => error.to_string(),
                    };
                    return Ok(CacheOutcome::Skipped);
                }
            }
        }
    }

    /// Whether the cache has a tree, found out by reading its archive to the end. What an archive and its
    /// metadata say of themselves proves nothing: whoever has changed the one may have left the other.
    async fn has(&self, key: &CacheKey, digest: TreeDigest) -> bool {
        let transfer = Transfer::start(&self.config, &self.cancel);
        // Whatever cannot be read now is replaced.
        unpack::read(self, key, transfer).await.is_ok_and(|found| found == Some(digest))
    }
}

/// Why a damaged archive was not replaced in the end.
fn replaced(key: &CacheKey) -> String {
    format!("another run has replaced `{key}`, which was damaged when it was read")
}
