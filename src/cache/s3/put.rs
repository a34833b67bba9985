//! From an upload's chunks to an object.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use deno_core::futures::stream::{FuturesUnordered, StreamExt};

use super::super::{CacheKey, Metadata, StoreError, Upload};
use super::explain::explain;
use super::multipart::Multipart;
use super::{S3Store, headers};

/// The size of a part in bytes. S3 takes no less than 5 MiB but for the last one.
const PART: usize = 8 << 20;

/// S3 takes at most 10,000 parts; so later ones are larger, and all together have 259 GiB.
const LATER_PART: usize = 32 << 20;
const LATER: i32 = 2_000;

/// How many bytes of parts are on their way at the same time.
const ON_THE_WAY: usize = 24 << 20;

pub async fn put(
    store: &S3Store,
    key: &CacheKey,
    metadata: &Metadata,
    mut chunks: Upload,
) -> Result<u64, StoreError> {
    let mut parts = Parts { chunks: &mut chunks, key, rest: Bytes::new(), ended: false };
    let first = parts.next(PART).await?;
    if parts.ended {
        return whole(store, key, chunks.metadata.as_ref().unwrap_or(metadata), first).await;
    }
    let mut size = first.len() as u64;
    let upload = Multipart::begin(store, key, metadata).await?;
    let mut sent = Vec::new();
    let mut number = 1;
    let mut sending = FuturesUnordered::new();
    sending.push(send(&upload, number, first));
    let mut on_the_way = PART;
    while !parts.ended {
        number += 1;
        let part_size = if number > LATER { LATER_PART } else { PART };
        let part = {
            let next = parts.next(part_size);
            tokio::pin!(next);
            // Parts make progress while the next one is being collected.
            loop {
                tokio::select! {
                    part = &mut next => break part?,
                    Some(done) = sending.next(), if !sending.is_empty() => {
                        let (part, bytes) = done?;
                        sent.push(part);
                        on_the_way -= bytes;
                    }
                }
            }
        };
        if part.is_empty() {
            break;
        }
        while on_the_way + part.len() > ON_THE_WAY
            && let Some(done) = sending.next().await
        {
            let (part, bytes) = done?;
            sent.push(part);
            on_the_way -= bytes;
        }
        size += part.len() as u64;
        on_the_way += part.len();
        sending.push(send(&upload, number, part));
    }
    while let Some(done) = sending.next().await {
        sent.push(done?.0);
    }
    drop(sending);
    sent.sort_by_key(|part| part.part_number());
    upload.complete(sent).await?;
    Ok(size)
}

async fn send(
    upload: &Multipart,
    number: i32,
    bytes: Bytes,
) -> Result<(aws_sdk_s3::types::CompletedPart, usize), StoreError> {
    // The first part counts as a full one.
    let size = if number == 1 { PART } else { bytes.len() };
    Ok((upload.part(number, bytes).await?, size))
}

/// A small object in one request.
async fn whole(
    store: &S3Store,
    key: &CacheKey,
    metadata: &Metadata,
    bytes: Bytes,
) -> Result<u64, StoreError> {
    let size = bytes.len() as u64;
    let request = store
        .client()
        .await?
        .put_object()
        .bucket(&store.location.bucket)
        .key(key.as_str())
        .set_metadata(Some(headers(metadata)))
        .body(ByteStream::from(bytes))
        .customize();
    let request = if store.signs_payload() { request } else { request.disable_payload_signing() };
    request.send().await.map_err(|error| explain(&store.location, &error))?;
    Ok(size)
}

/// Chunks as parts of a given size.
struct Parts<'a> {
    chunks: &'a mut Upload,
    key: &'a CacheKey,
    rest: Bytes,
    /// The sender has said that there is no more.
    ended: bool,
}

impl Parts<'_> {
    /// The next part, of this size unless it is the last one.
    async fn next(&mut self, size: usize) -> Result<Bytes, StoreError> {
        let mut part = Vec::with_capacity(size.min(self.rest.len().max(64 << 10)));
        while part.len() < size {
            if self.rest.is_empty() {
                match self.chunks.next(self.key).await? {
                    Some(chunk) => self.rest = chunk,
                    None => {
                        self.ended = true;
                        break;
                    }
                }
            }
            let now = self.rest.len().min(size - part.len());
            part.extend_from_slice(&self.rest.split_to(now));
        }
        Ok(part.into())
    }
}
