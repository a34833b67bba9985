//! A store in a bucket of S3 or of a server that speaks its protocol.

mod answer;
mod authority;
mod client;
mod condition;
mod explain;
mod get;
mod grant;
mod header;
mod journal;
mod listing;
pub mod multipart;
mod object;
mod parts;
mod presigned;
mod probe;
mod put;
mod redirect;
mod remote;
mod retry;
mod sent;
mod store;
mod unreachable;
mod uploads;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use self::explain::is_absent;
use crate::error::StoreError;
use crate::grants::Grants;
use crate::key::{CacheKey, KeyPrefix};
use crate::object::{Metadata, ObjectInfo};
use crate::store::{CacheStore, Objects};
use crate::stream::{Download, Upload};
use crate::upload::{PutCondition, Stored, UploadInfo};

pub use self::store::S3Store;

/// How long `close` waits for uploads to be taken back.
const CLEANUP: Duration = Duration::from_secs(10);

#[async_trait]
impl Objects for S3Store {
    async fn get(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Download)>, StoreError> {
        debug!(%key, bucket = self.location.bucket, "get");
        get::get(self.remote().await?, key).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        metadata: &Metadata,
        condition: &PutCondition,
        parts: Upload,
    ) -> Result<Stored, StoreError> {
        debug!(%key, bucket = self.location.bucket, "put");
        let budget = self.options.budget;
        let put = put::put(self, key, metadata, condition, parts, Instant::now() + budget);
        match tokio::time::timeout(budget, put).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::OverBudget { key: key.clone(), budget }),
        }
    }

    fn retries(&self) -> bool {
        true
    }
}

#[async_trait]
impl CacheStore for S3Store {
    async fn probe(&self, writes: bool) -> Result<(), StoreError> {
        probe::probe(self, writes).await
    }

    async fn stat(&self, key: &CacheKey) -> Result<Option<ObjectInfo>, StoreError> {
        Ok(self.remote().await?.head(key).await?.map(|(info, _)| info))
    }

    async fn tail(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        get::part(self.remote().await?, key, format!("bytes=-{bytes}")).await
    }

    async fn start(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        get::part(self.remote().await?, key, format!("bytes=0-{}", bytes.max(1) - 1)).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
        listing::objects(self.remote().await?, prefix).await
    }

    async fn delete(&self, key: &CacheKey, etag: &str) -> Result<bool, StoreError> {
        let remote = self.remote().await?;
        // Not a condition of the request, which few servers know here.
        if remote.head(key).await?.is_none_or(|(found, _)| found.etag != etag) {
            return Ok(false);
        }
        let request = remote.client.delete_object().bucket(remote.bucket()).key(key.as_str());
        match remote.retried(&remote.patience(), || request.clone().send()).await {
            Err(error) if !is_absent(&error) => Err(remote.explain(&error)),
            _ => Ok(true),
        }
    }

    async fn left_behind(&self) -> Result<u64, StoreError> {
        Ok(self.journal.left_behind().len() as u64)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let remote = self.remote().await?;
        let mut swept = 0;
        for left in self.journal.left_behind() {
            swept += u64::from(uploads::abort_named(remote, &left.key, &left.upload).await?);
            left.forget();
        }
        Ok(swept)
    }

    async fn uploads(&self, prefix: &KeyPrefix) -> Result<Vec<UploadInfo>, StoreError> {
        uploads::list(self.remote().await?, &self.journal, prefix).await
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<bool, StoreError> {
        uploads::abort(self.remote().await?, &self.journal, upload).await
    }

    async fn close(&self) {
        self.cleanup.close();
        // What is not taken back by then is in the journal.
        _ = tokio::time::timeout(CLEANUP, self.cleanup.wait()).await;
    }

    fn grants(&self) -> Option<&dyn Grants> {
        Some(self)
    }
}
