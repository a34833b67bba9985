//! A store in a bucket of S3 or of a server that speaks its protocol.

mod authority;
mod client;
mod explain;
mod get;
mod journal;
mod multipart;
mod probe;
mod put;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use self::explain::{explain, is_absent};
use self::journal::Journal;
use super::{
    CacheKey, CacheStore, Download, KeyPrefix, Metadata, ObjectInfo, S3Location, StoreError,
    StoreOptions, Upload,
};

pub struct S3Store {
    location: S3Location,
    options: StoreOptions,
    client: OnceCell<Client>,
    journal: Journal,
    /// Uploads that are being taken back.
    cleanup: TaskTracker,
}

/// What the names of user metadata start with.
const METADATA: &str = "ci-";

/// How old an upload of an unknown writer has to be before it counts as left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// How long `close` waits for uploads to be taken back.
const CLEANUP: Duration = Duration::from_secs(10);

impl S3Store {
    pub fn new(location: S3Location, options: StoreOptions) -> Self {
        let journal = Journal::new(&options.state, &location);
        Self { location, options, client: OnceCell::new(), journal, cleanup: TaskTracker::new() }
    }

    /// Made when it is needed first: reading credentials may take a while.
    async fn client(&self) -> Result<&Client, StoreError> {
        self.client.get_or_try_init(|| client::connect(&self.location, &self.options)).await
    }

    /// Whether what is sent is signed too. Under TLS nobody could change it on its way.
    fn signs_payload(&self) -> bool {
        self.location.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}

#[async_trait]
impl CacheStore for S3Store {
    async fn probe(&self, writes: bool) -> Result<(), StoreError> {
        probe::probe(self, writes).await
    }

    async fn stat(&self, key: &CacheKey) -> Result<Option<ObjectInfo>, StoreError> {
        let client = self.client().await?;
        let request = client.head_object().bucket(&self.location.bucket).key(key.as_str());
        match request.send().await {
            Ok(found) => Ok(Some(ObjectInfo {
                key: key.clone(),
                size: size(found.content_length()),
                modified: time(found.last_modified()),
                etag: found.e_tag().unwrap_or_default().to_owned(),
                metadata: metadata(found.metadata()),
            })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(explain(&self.location, &error)),
        }
    }

    async fn tail(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        get::tail(self, key, bytes).await
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Download)>, StoreError> {
        get::get(self, key).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        metadata: &Metadata,
        parts: Upload,
    ) -> Result<u64, StoreError> {
        let budget = self.options.budget;
        match tokio::time::timeout(budget, put::put(self, key, metadata, parts)).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::OverBudget { key: key.clone(), budget }),
        }
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
        let client = self.client().await?;
        let mut pages = client
            .list_objects_v2()
            .bucket(&self.location.bucket)
            .set_prefix((!prefix.is_empty()).then(|| format!("{prefix}/")))
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| explain(&self.location, &error))?;
            for object in page.contents() {
                // What has no proper key is none of this program's objects.
                let Some(Ok(key)) = object.key().map(str::parse) else { continue };
                found.push(ObjectInfo {
                    key,
                    size: size(object.size()),
                    modified: time(object.last_modified()),
                    etag: object.e_tag().unwrap_or_default().to_owned(),
                    metadata: Metadata::default(),
                });
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), StoreError> {
        let client = self.client().await?;
        let request = client.delete_object().bucket(&self.location.bucket).key(key.as_str());
        match request.send().await {
            Err(error) if !is_absent(&error) => Err(explain(&self.location, &error)),
            _ => Ok(()),
        }
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let client = self.client().await?;
        let mut swept = 0;
        for left in self.journal.left_behind() {
            let aborted = client
                .abort_multipart_upload()
                .bucket(&self.location.bucket)
                .key(&left.key)
                .upload_id(&left.upload)
                .send()
                .await;
            match aborted {
                Ok(_) => swept += 1,
                // Somebody else was faster, or it was completed in the last moment.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(explain(&self.location, &error)),
            }
            left.forget();
        }
        Ok(swept + multipart::abort_old(self, client, LEFT_BEHIND).await)
    }

    async fn close(&self) {
        self.cleanup.close();
        // What is not taken back by then is in the journal.
        _ = tokio::time::timeout(CLEANUP, self.cleanup.wait()).await;
    }
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
