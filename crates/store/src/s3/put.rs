//! From an upload's chunks to an object.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::Instant;

use super::condition::{self, COMPARISONS, Publish};
use super::header::Header;
use super::multipart::Multipart;
use super::object::headers;
use super::parts::{Parts, send_all};
use super::remote::TOKEN;
use super::sent::CountSent;
use super::store::S3Store;
use crate::error::StoreError;
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::stream::Upload;
use crate::upload::{PutCondition, SentPart, Stored};

pub async fn put(
    store: &S3Store,
    key: &CacheKey,
    metadata: &Metadata,
    condition: &PutCondition,
    mut chunks: Upload,
    until: Instant,
) -> Result<Stored, StoreError> {
    let mut parts = Parts::new(&mut chunks, key);
    let first = parts.first().await?;
    if parts.ended {
        let metadata = chunks.metadata.as_ref().unwrap_or(metadata);
        return whole(store, key, metadata, condition, first, until).await;
    }
    let mut upload = Multipart::begin(store, key, metadata, until).await?;
    let (sent, size) = send_all(&upload, first, &mut parts).await?;
    complete(store, &mut upload, key, condition, sent, size).await
}

/// Publishes an upload all of whose parts were sent, if the condition holds.
pub async fn complete(
    store: &S3Store,
    upload: &mut Multipart,
    key: &CacheKey,
    condition: &PutCondition,
    sent: Vec<SentPart>,
    size: u64,
) -> Result<Stored, StoreError> {
    let mut comparisons = 0;
    loop {
        comparisons += 1;
        let (header, notice) = condition::check(store, key, condition, Publish::Complete).await?;
        match upload.complete(sent.clone(), &header).await {
            Ok(()) => return Ok(Stored { size, notice, parts: None }),
            // It may be of another run of this program.
            Err(StoreError::Replaced { .. })
                if header == Header::Absent && comparisons < COMPARISONS => {}
            Err(error) => return Err(error),
        }
    }
}

/// A small object in one request.
async fn whole(
    store: &S3Store,
    key: &CacheKey,
    metadata: &Metadata,
    condition: &PutCondition,
    bytes: Bytes,
    until: Instant,
) -> Result<Stored, StoreError> {
    let size = bytes.len() as u64;
    let remote = store.remote().await?;
    let token = uuid::Uuid::new_v4().to_string();
    let mut headers = headers(metadata);
    headers.insert(TOKEN.to_owned(), token.clone());
    let (patience, counting) = remote.patience_for_body(until);
    let send = |header: &Header| {
        let request = remote
            .client
            .put_object()
            .bucket(remote.bucket())
            .key(key.as_str())
            .set_metadata(Some(headers.clone()))
            .set_if_match(header.if_match())
            .set_if_none_match(header.if_none_match())
            .body(ByteStream::from(bytes.clone()))
            .customize()
            .interceptor(CountSent(counting.0.clone()));
        match remote.signs_payload() {
            true => request.send(),
            false => request.disable_payload_signing().send(),
        }
    };
    let mut comparisons = 0;
    loop {
        comparisons += 1;
        let (mut header, notice) = condition::check(store, key, condition, Publish::Put).await?;
        let mut sent = remote.retried(&patience, || send(&header)).await;
        if sent.as_ref().is_err_and(|error| header.is_refused(error)) {
            header = Header::None;
            sent = remote.retried(&patience, || send(&header)).await;
        }
        let Err(error) = sent else { return Ok(Stored { size, notice, parts: None }) };
        let is_replaced = header.has_failed(&error);
        // The answer to an earlier attempt may have been lost, and that may have been a success.
        if is_replaced && remote.is_written_with(key, &token).await {
            return Ok(Stored { size, notice, parts: None });
        }
        match is_replaced {
            // It may be of another run of this program.
            true if header == Header::Absent && comparisons < COMPARISONS => {}
            true => return Err(StoreError::Replaced { key: key.clone() }),
            false => return Err(remote.explain(&error)),
        }
    }
}
