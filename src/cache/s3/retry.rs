//! The one way in which requests are sent again.
//!
//! The SDK's own retries are off: they know nothing of 409 and 429, of a clock that is wrong, and of how
//! long a probe may take.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::answer;
use super::clock::Clock;
use super::explain::Unreachable;

/// How often a request is sent that fails for a passing reason.
pub const ATTEMPTS: usize = 6;

/// How patient one request is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub attempts: usize,
    /// How long one attempt may take until its answer has been read; `None` where the answer to a large
    /// request or the size of the answer decides.
    pub limit: Option<Duration>,
}

/// Pauses between attempts, with jitter: between 3 and 6 seconds in all.
pub fn pauses(attempts: usize) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(attempts - 1)
        .with_jitter()
        .build()
}

/// Sends a request until it succeeds, fails for a lasting reason, or was sent often enough. Whoever
/// calls bounds the whole by a budget.
pub async fn retried<T, E, F>(
    clock: &Clock,
    patience: Patience,
    send: impl Fn() -> F,
) -> Result<T, SdkError<E, HttpResponse>>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let mut pauses = pauses(patience.attempts);
    loop {
        let was_corrected = clock.is_corrected();
        let sent = match patience.limit {
            None => send().await,
            Some(limit) => match tokio::time::timeout(limit, send()).await {
                Ok(sent) => sent,
                Err(elapsed) => Err(SdkError::timeout_error(elapsed)),
            },
        };
        let error = match sent {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // Another request may have corrected the clock since this one was signed.
        if !was_corrected
            && let Some(server) = time_if_skewed(&error)
            && (clock.correct(server) || clock.is_corrected())
        {
            continue;
        }
        match pauses.next().filter(|_| is_passing(&error)) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
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

/// The server's time, if it refuses a request since the clocks differ.
fn time_if_skewed<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> Option<SystemTime> {
    let response = error.raw_response()?;
    let date = response.headers().get("date")?;
    let server = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    let server = SystemTime::try_from(server).ok()?;
    match error.code() {
        Some("RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture") => Some(server),
        // The answer to a HEAD request has no body that could say it.
        None if response.status().as_u16() == 403 => {
            let now = SystemTime::now();
            let apart = server.duration_since(now).unwrap_or_else(|error| error.duration());
            (apart > SKEW).then_some(server)
        }
        _ => None,
    }
}

/// S3 takes requests whose time differs by less than 15 minutes.
const SKEW: Duration = Duration::from_secs(14 * 60);
