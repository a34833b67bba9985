//! A store in a bucket of S3 or of a server that speaks its protocol.

mod answer;
mod authority;
mod client;
mod condition;
mod explain;
mod get;
mod grant;
mod journal;
mod multipart;
mod presigned;
mod probe;
mod put;
mod remote;
mod retry;
mod sent;
mod uploads;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::primitives::DateTime;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::explain::is_absent;
use self::journal::Journal;
use self::remote::Remote;
use super::{
    CacheKey, CacheStore, Download, Grants, KeyPrefix, Metadata, ObjectInfo, Objects, PutCondition,
    S3Location, StoreError, StoreOptions, Stored, Upload, UploadInfo,
};

pub use self::multipart::Multipart;
pub use self::presigned::GrantedStore;

pub struct S3Store {
    location: S3Location,
    options: StoreOptions,
    remote: OnceCell<Arc<Remote>>,
    journal: Journal,
    /// Uploads that are being taken back.
    cleanup: TaskTracker,
    /// Whether the server honours conditions of puts, and of completed uploads.
    honours_put: OnceCell<bool>,
    honours_complete: OnceCell<bool>,
}

/// What the names of user metadata start with.
const METADATA: &str = "ci-";

/// How long `close` waits for uploads to be taken back.
const CLEANUP: Duration = Duration::from_secs(10);

impl S3Store {
    pub fn new(location: S3Location, options: StoreOptions) -> Self {
        let journal = Journal::new(&options.state, &location);
        Self {
            location,
            options,
            remote: OnceCell::new(),
            journal,
            cleanup: TaskTracker::new(),
            honours_put: OnceCell::new(),
            honours_complete: OnceCell::new(),
        }
    }

    /// Made when it is needed first: reading credentials may take a while.
    async fn remote(&self) -> Result<&Arc<Remote>, StoreError> {
        let connect = async || client::connect(&self.location, &self.options).await.map(Arc::new);
        self.remote.get_or_try_init(connect).await
    }
}

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
        let remote = self.remote().await?;
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        let mut seen = HashSet::new();
        loop {
            let request = remote
                .client
                .list_objects_v2()
                .bucket(remote.bucket())
                .set_prefix(prefix_of(prefix))
                .set_continuation_token(token.clone());
            let page = remote.retried(&remote.patience(), || request.clone().send()).await;
            let page = page.map_err(|error| remote.explain(&error))?;
            for object in page.contents() {
                // What has no proper key is none of this program's objects.
                let key = object.key().and_then(|key| key.parse::<CacheKey>().ok());
                let Some(key) = key.filter(CacheKey::is_archive) else { continue };
                found.push(ObjectInfo {
                    key,
                    size: size(object.size()),
                    modified: time(object.last_modified()),
                    etag: object.e_tag().unwrap_or_default().to_owned(),
                    metadata: Metadata::default(),
                });
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            match page.next_continuation_token() {
                None | Some("") => return Err(incomplete(remote, "gives no token to go on with")),
                Some(next) if !seen.insert(next.to_owned()) => {
                    return Err(incomplete(remote, "gives the same token again"));
                }
                Some(next) => token = Some(next.to_owned()),
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
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

/// What the keys below a prefix start with.
fn prefix_of(prefix: &KeyPrefix) -> Option<String> {
    (!prefix.is_empty()).then(|| format!("{prefix}/"))
}

/// A listing that goes on, but not in a way that leads anywhere.
fn incomplete(remote: &Remote, how: &str) -> StoreError {
    let server = explain::server(&remote.location);
    StoreError::Other(format!(
        "the listing of `{server}` is incomplete: it says that there is more, and {how}"
    ))
}

fn size(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}

/// An object without a time is as old as can be.
fn time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn metadata(found: Option<&std::collections::HashMap<String, String>>) -> Metadata {
    let pairs = found.into_iter().flatten().filter_map(|(name, value)| {
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        Some((name.strip_prefix(METADATA)?, value))
    });
    Metadata::from_pairs(pairs)
}

/// What a header of HTTP takes as it is.
const PLAIN: &AsciiSet = &CONTROLS.add(b'%');

fn headers(metadata: &Metadata) -> std::collections::HashMap<String, String> {
    let pairs = metadata.pairs().into_iter();
    pairs
        .map(|(name, value)| {
            (format!("{METADATA}{name}"), utf8_percent_encode(&value, PLAIN).to_string())
        })
        .collect()
}
