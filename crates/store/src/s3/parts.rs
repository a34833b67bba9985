//! An upload's chunks as parts, and how they are sent.

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::error::StoreError;
use crate::key::CacheKey;
use crate::stream::Upload;
use crate::upload::SentPart;

/// The size of a part in bytes. S3 takes no less than 5 MiB but for the last one.
const PART: usize = 8 << 20;

/// S3 takes at most 10,000 parts; so later ones are larger, and all together have 259 GiB.
const LATER_PART: usize = 32 << 20;
const LATER: i32 = 2_000;
const MOST_PARTS: i32 = 10_000;

/// How many bytes of parts are on their way at the same time.
const ON_THE_WAY: usize = 24 << 20;

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

/// Chunks as parts of a given size.
pub struct Parts<'a> {
    chunks: &'a mut Upload,
    key: &'a CacheKey,
    rest: Bytes,
    /// The sender has said that there is no more.
    pub ended: bool,
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
