//! From an object to a download's chunks, over several connections.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::explain::{is_absent, no_s3};
use super::object::{metadata, size, time};
use super::remote::Remote;
use super::retry::{Patience, pause, pauses};
use super::unreachable::causes;
use crate::error::StoreError;
use crate::key::CacheKey;
use crate::object::ObjectInfo;
use crate::stream::Download;

/// What one request asks for, in bytes.
const RANGE: u64 = 8 << 20;

/// How many requests are under way at the same time: a connection to S3 gives 80 to 100 MB/s.
const AT_ONCE: usize = 4;

pub async fn get(
    remote: &Arc<Remote>,
    key: &CacheKey,
) -> Result<Option<(ObjectInfo, Download)>, StoreError> {
    let answer = match first(remote, key, format!("bytes=0-{}", RANGE - 1)).await? {
        Found::Part(answer) => answer,
        Found::Empty(info) => return Ok(Some((*info, empty(key)))),
        Found::Nothing => return Ok(None),
    };
    let info = info(key, &answer);
    let budget = remote.budget;
    let fetch =
        Fetch { remote: remote.clone(), info: info.clone(), until: Instant::now() + budget };
    // The first range comes as it arrives, later ones whole: they wait for their turn.
    let (sender, chunks) = mpsc::channel(2);
    let length = size(answer.content_length());
    let task = tokio::spawn(async move {
        let over = StoreError::OverBudget { key: fetch.info.key.clone(), budget };
        let run = timeout(budget, fetch.run(answer.body, length, &sender)).await;
        if let Err(error) = run.unwrap_or(Err(over)) {
            // Nobody may want to know any more.
            _ = sender.send(Err(error)).await;
        }
    });
    let download = Download::new(key.clone(), info.size, chunks, task);
    Ok(Some((info, download)))
}

/// What these bytes of an object are.
pub async fn part(
    remote: &Remote,
    key: &CacheKey,
    range: String,
) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
    let (mut pauses, until) = (pauses(), Instant::now() + remote.retry);
    loop {
        let (info, body) = match first(remote, key, range.clone()).await? {
            Found::Part(answer) => (info(key, &answer), answer.body),
            Found::Empty(info) => return Ok(Some((*info, Bytes::new()))),
            Found::Nothing => return Ok(None),
        };
        if let Ok(Ok(part)) = timeout(remote.stall, body.collect()).await {
            return Ok(Some((info, part.into_bytes())));
        }
        if !pause(&mut pauses, Duration::ZERO, until).await {
            return Err(StoreError::Unavailable(format!(
                "a part of `{key}` cannot be read, the connection is cut off each time"
            )));
        }
    }
}

/// What asking for a part of an object has found.
enum Found {
    Part(Box<GetObjectOutput>),
    Empty(Box<ObjectInfo>),
    Nothing,
}

async fn first(remote: &Remote, key: &CacheKey, range: String) -> Result<Found, StoreError> {
    let request = remote.client.get_object().bucket(remote.bucket());
    let request = request.key(key.as_str()).range(range);
    let send = || request.clone().customize().interceptor(remote.redirect()).send();
    match remote.retried(&remote.patience(), send).await {
        // Without it nobody could tell whether later ranges are of the same object.
        Ok(answer) if answer.e_tag().is_none() => {
            Err(no_s3(&remote.location, "answers with something else", 200))
        }
        Ok(answer) => Ok(Found::Part(Box::new(answer))),
        Err(error) if is_absent(&error) => Ok(Found::Nothing),
        // There is no byte to ask for.
        Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => {
            let found = remote.head(key).await?;
            Ok(found.map_or(Found::Nothing, |(info, _)| Found::Empty(Box::new(info))))
        }
        Err(error) => Err(remote.explain(&error)),
    }
}

fn info(key: &CacheKey, answer: &GetObjectOutput) -> ObjectInfo {
    ObjectInfo {
        key: key.clone(),
        size: total(answer),
        modified: time(answer.last_modified()),
        used: None,
        etag: answer.e_tag().unwrap_or_default().to_owned(),
        metadata: metadata(answer.metadata()),
    }
}

fn empty(key: &CacheKey) -> Download {
    let (_, chunks) = mpsc::channel(1);
    Download::new(key.clone(), 0, chunks, tokio::spawn(async {}))
}

/// The size of the whole object, of which the answer may have a part.
fn total(answer: &GetObjectOutput) -> u64 {
    let range = answer.content_range().and_then(|range| range.rsplit('/').next());
    let total = range.and_then(|total| total.parse().ok());
    total.unwrap_or_else(|| size(answer.content_length()))
}

struct Fetch {
    remote: Arc<Remote>,
    info: ObjectInfo,
    /// When the transfer has to be over.
    until: Instant,
}

type Chunks = mpsc::Sender<Result<Bytes, StoreError>>;

impl Fetch {
    async fn run(&self, body: ByteStream, first: u64, chunks: &Chunks) -> Result<(), StoreError> {
        let mut starts = (first..self.info.size).step_by(RANGE as usize);
        let mut ranges = FuturesOrdered::new();
        let mut fill = |ranges: &mut FuturesOrdered<_>| {
            while ranges.len() < AT_ONCE
                && let Some(start) = starts.next()
            {
                let range = start..(start + RANGE).min(self.info.size);
                ranges.push_back(self.range(range));
            }
        };
        fill(&mut ranges);
        {
            // While the first range is passed on, the others are on their way.
            let passed = self.pass(body, 0..first, chunks);
            tokio::pin!(passed);
            let mut ready = std::collections::VecDeque::new();
            loop {
                tokio::select! {
                    done = &mut passed => { done?; break; }
                    Some(range) = ranges.next(), if ready.len() < AT_ONCE => {
                        ready.push_back(range);
                    }
                }
            }
            for range in ready {
                send(chunks, range?).await?;
            }
        }
        loop {
            fill(&mut ranges);
            match ranges.next().await {
                Some(range) => send(chunks, range?).await?,
                None => return Ok(()),
            }
        }
    }

    /// Passes a body on as it arrives; what is missing at its end is asked for again.
    async fn pass(
        &self,
        mut body: ByteStream,
        range: Range<u64>,
        chunks: &Chunks,
    ) -> Result<(), StoreError> {
        let mut at = range.start;
        while at < range.end {
            match timeout(self.remote.stall, body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    at += chunk.len() as u64;
                    send(chunks, chunk).await?;
                }
                Ok(Some(Err(_)) | None) | Err(_) => {
                    let rest = self.range(at..range.end).await?;
                    return send(chunks, rest).await;
                }
            }
        }
        Ok(())
    }

    /// A range of the object, asked for again until all of it is there.
    async fn range(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let expected = range.end - range.start;
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        let mut pauses = pauses();
        let until = self.until.min(Instant::now() + self.remote.retry);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let at = range.start + bytes.len() as u64;
            let error = match self.attempt(at..range.end, &mut bytes, attempts).await {
                Ok(()) => return Ok(bytes.into()),
                Err(error) => error,
            };
            // Asking again helps against nothing but the weather.
            let passing = matches!(
                error,
                StoreError::Unavailable(_) | StoreError::Stalled { .. } | StoreError::Length { .. }
            );
            if !passing || !pause(&mut pauses, Duration::ZERO, until).await {
                return Err(error);
            }
        }
    }

    async fn attempt(
        &self,
        range: Range<u64>,
        bytes: &mut Vec<u8>,
        attempts: u32,
    ) -> Result<(), StoreError> {
        let (remote, key) = (&self.remote, &self.info.key);
        let stalled = || StoreError::Stalled { key: key.clone(), stall: remote.stall, attempts };
        let request = remote
            .client
            .get_object()
            .bucket(remote.bucket())
            .key(key.as_str())
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            // All of it has to be of the same version.
            .if_match(&self.info.etag);
        // What fails for a passing reason is asked for again here, together with what is cut off later.
        let patience = Patience::new(Instant::now(), remote.stall);
        let send = || request.clone().customize().interceptor(remote.redirect()).send();
        let sent = remote.retried(&patience, send).await;
        let answer =
            sent.map_err(|error| match error.raw_response().map(|raw| raw.status().as_u16()) {
                Some(404 | 412 | 416) => StoreError::Changed { key: key.clone() },
                _ => remote.explain(&error),
            })?;
        let expected = range.end - range.start;
        let start = bytes.len();
        let mut body = answer.body;
        loop {
            let got = (bytes.len() - start) as u64;
            match timeout(self.remote.stall, body.next()).await {
                Err(_) => return Err(stalled()),
                Ok(Some(Ok(chunk))) if got + chunk.len() as u64 <= expected => {
                    bytes.extend_from_slice(&chunk);
                }
                Ok(Some(Ok(_))) => {
                    let key = key.clone();
                    bytes.truncate(start);
                    return Err(StoreError::Length { key, expected, got: expected + 1 });
                }
                Ok(Some(Err(error))) => {
                    return Err(StoreError::Unavailable(format!(
                        "the transfer of `{key}` was cut off: {}",
                        causes(&error)
                    )));
                }
                Ok(None) if got == expected => return Ok(()),
                Ok(None) => return Err(StoreError::Length { key: key.clone(), expected, got }),
            }
        }
    }
}

/// An error when nobody wants the content any more, which ends the task.
async fn send(chunks: &Chunks, chunk: Bytes) -> Result<(), StoreError> {
    if chunk.is_empty() {
        return Ok(());
    }
    let gone = |_| StoreError::Other("nobody reads the download".to_owned());
    chunks.send(Ok(chunk)).await.map_err(gone)
}
