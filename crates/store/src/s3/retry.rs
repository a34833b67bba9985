//! The one way in which requests are sent again.
//!
//! The SDK's own retries are off: they know nothing of 409 and 429, of a clock that is wrong, and of how
//! long a probe may take.
//!
//! The SDK measures a clock that is wrong, and the retry sends the request again that was signed with the
//! right time. There are no read timeouts: the SDK's would count the time that a large body takes, which
//! `sent.rs` counts as progress. An interceptor ends answers that are longer than S3's can be.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::answer;
use super::unreachable::Unreachable;
use crate::progress::Progress;

/// How patient one request is.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Until when it is sent again while it fails for a passing reason.
    pub until: Instant,
    /// How long one attempt may go on without progress; `None` where the size of the answer decides.
    pub limit: Option<Duration>,
    /// What its progress is. Without it, only the answer is.
    pub progress: Option<Progress>,
}

impl Patience {
    pub fn new(until: Instant, limit: Duration) -> Self {
        Self { until, limit: Some(limit), progress: None }
    }
}

/// The longest pause before a request is sent again that its server has not asked for.
const LONGEST: Duration = Duration::from_secs(10);

/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Pauses between attempts, with jitter and without an end.
pub fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST / 2)
        .without_max_times()
        .with_jitter()
        .build()
}

/// Waits before the next attempt. Returns false at once if that would be too late.
pub async fn pause(pauses: &mut ExponentialBackoff, asked: Duration, until: Instant) -> bool {
    let pause = pauses.next().unwrap_or(LONGEST).max(asked);
    let in_time = Instant::now().checked_add(pause).is_some_and(|then| then < until);
    if in_time {
        debug!(?pause, "sends the request again after a pause");
        tokio::time::sleep(pause).await;
    }
    in_time
}

/// Sends a request until it succeeds, fails for a lasting reason, or its time is over.
pub async fn retried<T, E, F>(
    patience: &Patience,
    send: impl Fn() -> F,
) -> Result<T, SdkError<E, HttpResponse>>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let mut pauses = pauses();
    // The SDK measures how far the server's clock is ahead and signs the next request with that, but leaves
    // it to its caller to send one. This machine's clock may be set while a run goes on, so each request may
    // find it wrong, and does so once.
    let mut is_corrected = false;
    loop {
        let error = match attempt(patience, send()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        debug!(status, code = error.code(), "a request failed");
        if !is_corrected && is_skewed(&error) {
            is_corrected = true;
            continue;
        }
        let again =
            is_passing(&error) && pause(&mut pauses, asked_pause(&error), patience.until).await;
        if !again {
            return Err(error);
        }
    }
}

/// One attempt, for as long as it makes progress.
async fn attempt<T, E>(
    patience: &Patience,
    sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, SdkError<E, HttpResponse>> {
    let Some(limit) = patience.limit else { return sending.await };
    let mut sending = pin!(sending);
    let steps = || patience.progress.as_ref().map(Progress::steps);
    loop {
        let before = steps();
        match timeout(limit, &mut sending).await {
            Ok(sent) => return sent,
            Err(_) if before != steps() => {}
            Err(elapsed) => return Err(SdkError::timeout_error(elapsed)),
        }
    }
}

/// How long the server wants to be left alone, within bounds.
fn asked_pause<E>(error: &SdkError<E, HttpResponse>) -> Duration {
    let header = error.raw_response().and_then(|answer| answer.headers().get("retry-after"));
    header.and_then(pause_of).unwrap_or_default().min(LONGEST_ASKED)
}

/// A number of seconds, or a time.
fn pause_of(header: &str) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = DateTime::from_str(header.trim(), DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(time).ok()?.duration_since(SystemTime::now()).ok()
}

/// Codes of errors that may not come again when the request does.
const PASSING: &[&str] = &[
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
];

/// Whether the same request may succeed if it is sent again.
pub fn is_passing<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error {
        SdkError::TimeoutError(_) => return true,
        SdkError::ConstructionFailure(_) => return false,
        SdkError::DispatchFailure(_) => return Unreachable::of(error).is_passing(),
        _ if is_interrupted(error) => return true,
        _ => {}
    }
    if error.code().is_some_and(|code| PASSING.contains(&code)) {
        return true;
    }
    let Some(response) = error.raw_response() else { return true };
    match response.status().as_u16() {
        408 | 409 | 425 | 429 => true,
        // The answer to a HEAD request has no body that could say `RequestTimeout`.
        400 => error.code().is_none() && response.body().bytes().is_some_and(<[u8]>::is_empty),
        // Not implemented, and a version of HTTP that is not supported.
        501 | 505 => false,
        500.. => true,
        // An answer that says yes and cannot be read was cut off, unless it is no S3's at all.
        200..300 => answer::foreign(response, error.code()).is_none(),
        _ => false,
    }
}

/// Whether an answer has begun and could not be read to its end.
pub fn is_interrupted<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ResponseError(error) => error.raw().body().bytes().is_none(),
        _ => false,
    }
}

/// Whether the server refuses a request since the clocks differ.
fn is_skewed<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error.code() {
        Some("RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture") => true,
        Some(_) => false,
        // The answer to a HEAD request has no body that could say it.
        None => {
            let response = error.raw_response().filter(|answer| answer.status().as_u16() == 403);
            response.and_then(server_time).is_some_and(|server| {
                let apart = server.duration_since(SystemTime::now());
                apart.unwrap_or_else(|error| error.duration()) > SKEW
            })
        }
    }
}

fn server_time(response: &HttpResponse) -> Option<SystemTime> {
    let date = response.headers().get("date")?;
    let server = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(server).ok()
}

/// S3 takes requests whose time differs by less than 15 minutes.
const SKEW: Duration = Duration::from_secs(14 * 60);

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[test]
    fn pauses_that_a_server_asks_for_are_read() {
        assert_eq!(pause_of(" 3 "), Some(Duration::from_secs(3)));
        let soon = DateTime::from(SystemTime::now() + Duration::from_secs(100));
        let soon = pause_of(&soon.fmt(DateTimeFormat::HttpDate).unwrap()).unwrap();
        assert!((90..=100).contains(&soon.as_secs()), "{soon:?}");
        for other in ["", "soon", "-1", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(pause_of(other), None, "{other}");
        }
    }

    #[test]
    fn pauses_have_a_bound_each_and_no_end() {
        let first: Vec<_> = pauses().take(1000).collect();
        assert_eq!(first.len(), 1000);
        assert!(first.iter().all(|pause| *pause <= LONGEST), "{first:?}");
        assert!(first[0] < Duration::from_millis(201), "{first:?}");
        assert!(first[999] >= LONGEST / 2, "{first:?}");
    }

    #[tokio::test]
    async fn a_pause_that_would_end_too_late_is_none() {
        let until = Instant::now() + Duration::from_secs(59);
        assert!(!pause(&mut pauses(), Duration::from_secs(60), until).await);
        assert!(!pause(&mut pauses(), Duration::ZERO, Instant::now()).await);
    }

    /// A transfer that is slow, and one that stands still.
    #[tokio::test]
    async fn an_attempt_goes_on_while_it_makes_progress() {
        let progress = Progress::default();
        let limit = Duration::from_millis(10);
        let patience = Patience {
            progress: Some(progress.clone()),
            ..Patience::new(Instant::now() + limit, limit)
        };
        let mut polls = 0;
        // Wakes nobody, so it is looked at once for each limit that has passed.
        let slow = std::future::poll_fn(|_| {
            polls += 1;
            progress.step();
            match polls {
                5 => Poll::Ready(Ok::<_, SdkError<aws_sdk_s3::Error, HttpResponse>>(())),
                _ => Poll::Pending,
            }
        });
        assert!(attempt(&patience, slow).await.is_ok());
        let still = attempt::<(), aws_sdk_s3::Error>(&patience, std::future::pending()).await;
        assert!(matches!(still, Err(SdkError::TimeoutError(_))));
    }
}
