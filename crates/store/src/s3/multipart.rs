//! Uploads in parts, which are published as a whole or taken back.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::explain::{is_absent, is_failed_condition, no_s3};
use super::header::Header;
use super::journal::Entry;
use super::object::headers;
use super::parts::PartSink;
use super::remote::{Remote, TOKEN};
use super::retry::Patience;
use super::sent::CountSent;
use super::store::S3Store;
use crate::error::StoreError;
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::upload::SentPart;

/// An upload that has begun. Dropped before it was completed, it is taken back.
pub struct Multipart {
    remote: Arc<Remote>,
    key: CacheKey,
    upload: String,
    token: String,
    /// How long its requests are sent again.
    until: Instant,
    cleanup: TaskTracker,
    entry: Option<Entry>,
    /// Completed, or taken back.
    ended: bool,
}

/// The most time that a server may take to put an object together from its parts.
const COMPLETING: Duration = Duration::from_secs(10 * 60);

impl Multipart {
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    pub(super) fn id(&self) -> &str {
        &self.upload
    }

    /// Begins on a task of its own: when this future is dropped meanwhile, the server may have begun all
    /// the same, and what it has begun is taken back.
    pub async fn begin(
        store: &S3Store,
        key: &CacheKey,
        metadata: &Metadata,
        until: Instant,
    ) -> Result<Self, StoreError> {
        let remote = store.remote().await?.clone();
        let token = uuid::Uuid::new_v4().to_string();
        let mut headers = headers(metadata);
        headers.insert(TOKEN.to_owned(), token.clone());
        let request = remote
            .client
            .create_multipart_upload()
            .bucket(remote.bucket())
            .key(key.as_str())
            .set_metadata(Some(headers));
        let patience = Patience { until, ..remote.patience() };
        let (journal, cleanup) = (store.journal.clone(), store.cleanup.clone());
        let key = key.clone();
        let (sender, begun) = oneshot::channel();
        store.cleanup.spawn(async move {
            let result = match remote.retried(&patience, || request.clone().send()).await {
                Ok(begun) => match begun.upload_id() {
                    Some(upload) => {
                        let (entry, upload) =
                            (journal.note(key.as_str(), upload), upload.to_owned());
                        Ok(Self { remote, key, upload, token, until, cleanup, entry, ended: false })
                    }
                    None => Err(no_s3(&remote.location, "begins no upload", 200)),
                },
                Err(error) => Err(remote.explain(&error)),
            };
            // If nobody is there to take it, it is dropped here.
            _ = sender.send(result);
        });
        let gone = || StoreError::Other("the upload was given up".to_owned());
        begun.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Publishes the object. After [`StoreError::Replaced`] it may be tried again.
    pub async fn complete(
        &mut self,
        parts: Vec<SentPart>,
        condition: &Header,
    ) -> Result<(), StoreError> {
        let sent = parts.clone();
        let part = |SentPart { number, etag }: SentPart| {
            CompletedPart::builder().part_number(number).e_tag(etag).build()
        };
        let parts = parts.into_iter().map(part).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let remote = &self.remote;
        let request = remote
            .client
            .complete_multipart_upload()
            .bucket(remote.bucket())
            .key(self.key.as_str())
            .upload_id(&self.upload)
            .multipart_upload(parts)
            .set_if_match(condition.if_match())
            .set_if_none_match(condition.if_none_match());
        let patience = Patience::new(self.until, COMPLETING);
        if let Err(error) = remote.retried(&patience, || request.clone().send()).await {
            let is_ambiguous = is_absent(&error) || is_failed_condition(&error);
            // The answer to an earlier attempt may have been lost, and that may have been a success.
            if !(is_ambiguous && remote.is_written_with(&self.key, &self.token).await) {
                if condition.is_refused(&error) {
                    return Box::pin(self.complete(sent, &Header::None)).await;
                }
                return Err(match condition.has_failed(&error) {
                    true => StoreError::Replaced { key: self.key.clone() },
                    false => remote.explain(&error),
                });
            }
        }
        self.ended = true;
        if let Some(entry) = self.entry.take() {
            entry.forget();
        }
        Ok(())
    }
}

impl PartSink for Multipart {
    async fn part(&self, number: i32, bytes: Bytes) -> Result<SentPart, StoreError> {
        let remote = &self.remote;
        let (patience, counting) = remote.patience_for_body(self.until);
        let send = || {
            let request = remote
                .client
                .upload_part()
                .bucket(remote.bucket())
                .key(self.key.as_str())
                .upload_id(&self.upload)
                .part_number(number)
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .interceptor(CountSent(counting.0.clone()));
            match remote.signs_payload() {
                true => request.send(),
                false => request.disable_payload_signing().send(),
            }
        };
        let sent = remote.retried(&patience, send).await;
        let sent = sent.map_err(|error| remote.explain(&error))?;
        Ok(SentPart { number, etag: sent.e_tag().unwrap_or_default().to_owned() })
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if !self.ended {
            let (remote, key, upload) =
                (self.remote.clone(), self.key.clone(), self.upload.clone());
            // In the background, since whoever dropped this does not wait. `close` does.
            self.cleanup.spawn(abort(remote, key, upload, self.entry.take()));
        }
    }
}

async fn abort(remote: Arc<Remote>, key: CacheKey, upload: String, entry: Option<Entry>) {
    let request = remote.client.abort_multipart_upload().bucket(remote.bucket());
    let request = request.key(key.as_str()).upload_id(upload);
    let is_gone = match remote.retried(&remote.patience(), || request.clone().send()).await {
        Ok(_) => true,
        Err(error) => is_absent(&error),
    };
    if is_gone && let Some(entry) = entry {
        entry.forget();
    }
}
