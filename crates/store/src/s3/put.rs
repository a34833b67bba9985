//! From an upload's chunks to an object.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::super::{CacheKey, Metadata, PutCondition, SentPart, StoreError, Stored, Upload};
use super::condition::{self, COMPARISONS, Header, Publish};
use super::multipart::Multipart;
use super::remote::TOKEN;
use super::sent::CountSent;
use super::{S3Store, headers};

/// The size of a part in bytes. S3 takes no less than 5 MiB but for the last one.
const PART: usize = 8 << 20;

/// S3 takes at most 10,000 parts; so later ones are larger, and all together have 259 GiB.
const LATER_PART: usize = 32 << 20;
const LATER: i32 = 2_000;
const MOST_PARTS: i32 = 10_000;

/// How many bytes of parts are on their way at the same time.
const ON_THE_WAY: usize = 24 << 20;

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

/// Whoever takes the parts of an upload.
pub trait PartSink {
    /// Sends a part; their numbers count from 1.
    async fn part(&self, number: i32, bytes: Bytes) -> Result<SentPart, StoreError>;
}

/// Sends all parts, several at the same time, and returns them with their size in bytes.
pub async fn send_all(
    sink: &impl PartSink,
    first: Bytes,
    parts: &mut Parts<'_>,
) -> Result<(Vec<SentPart>, u64), StoreError> {
    let mut size = first.len() as u64;
    let mut sent = Vec::new();
    let mut number = 1;
    let mut sending = FuturesUnordered::new();
    sending.push(send(sink, number, first));
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
        sending.push(send(sink, number, part));
    }
    while let Some(done) = sending.next().await {
        sent.push(done?.0);
    }
    drop(sending);
    sent.sort_by_key(|part: &SentPart| part.number);
    Ok((sent, size))
}

async fn send(
    sink: &impl PartSink,
    number: i32,
    bytes: Bytes,
) -> Result<(SentPart, usize), StoreError> {
    // The first part counts as a full one.
    let size = if number == 1 { PART } else { bytes.len() };
    Ok((sink.part(number, bytes).await?, size))
}

/// How many parts an object of this size has, in bytes.
pub fn parts_of(size: u64) -> i32 {
    let (early, late) = (LATER as u64 * PART as u64, LATER_PART as u64);
    let count = match size.checked_sub(early) {
        None => size.div_ceil(PART as u64).max(1),
        Some(rest) => LATER as u64 + rest.div_ceil(late),
    };
    i32::try_from(count).unwrap_or(i32::MAX).min(MOST_PARTS)
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

/// Chunks as parts of a given size.
pub struct Parts<'a> {
    chunks: &'a mut Upload,
    key: &'a CacheKey,
    rest: Bytes,
    /// The sender has said that there is no more.
    ended: bool,
}

impl<'a> Parts<'a> {
    pub fn new(chunks: &'a mut Upload, key: &'a CacheKey) -> Self {
        Self { chunks, key, rest: Bytes::new(), ended: false }
    }

    pub async fn first(&mut self) -> Result<Bytes, StoreError> {
        self.next(PART).await
    }

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
