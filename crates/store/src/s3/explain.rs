//! The SDK's errors in plain words.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::answer;
use super::retry::{is_interrupted, is_passing};
use super::unreachable::Unreachable;
use crate::error::StoreError;
use crate::location::S3Location;
use crate::printable::said;

/// Whether an answer says that an object or an upload is not there.
pub fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error.code(), Some("NoSuchKey" | "NoSuchUpload" | "NotFound"))
}

/// The same of an answer to a HEAD request, which has no body that could say it.
pub fn is_absent_head<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    is_absent(error)
        || (error.code().is_none()
            && error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404))
}

/// Whether a condition of the request does not hold.
pub fn is_failed_condition<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("PreconditionFailed")
        || error.raw_response().is_some_and(|answer| answer.status().as_u16() == 412)
}

/// The server's address, for people.
pub fn server(location: &S3Location) -> &str {
    location.endpoint.as_deref().unwrap_or("Amazon S3")
}

/// An answer that no S3 server gives; `how` follows "it".
pub fn no_s3(location: &S3Location, how: &str, status: u16) -> StoreError {
    StoreError::Misconfigured(format!(
        "`{}` is no S3 server: it {how} (HTTP status {status}), check the address in `cache=` and `endpoint=`",
        server(location)
    ))
}

pub fn explain<E>(location: &S3Location, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let bucket = &location.bucket;
    let server = server(location);
    match error {
        SdkError::TimeoutError(_) => {
            return StoreError::Unavailable(format!("`{server}` does not answer"));
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            return Unreachable::of(error).explain(server);
        }
        _ if is_interrupted(error) => return Unreachable::CutOff.explain(server),
        _ => {}
    }
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    if let (Some(answer), Some(status)) = (error.raw_response(), status)
        && let Some(how) = answer::foreign(answer, error.code())
    {
        return no_s3(location, &how, status);
    }
    let code = said(error.code().unwrap_or_default());
    let said = said(error.message().unwrap_or_default());
    match (code.as_str(), status) {
        ("NoSuchBucket", _) => StoreError::Misconfigured(format!(
            "there is no bucket `{bucket}` at `{server}`, create it or name another one"
        )),
        (
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        )
        | ("", Some(301)) => another_region(location, error, &said),
        ("InvalidAccessKeyId", _) => StoreError::Denied(format!(
            "`{server}` does not know the access key, check the credentials"
        )),
        ("SignatureDoesNotMatch", _) => StoreError::Denied(format!(
            "`{server}` does not accept the signature, check the secret key"
        )),
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => StoreError::Denied(
            format!("`{server}` says that the credentials have expired, renew them"),
        ),
        ("RequestTimeTooSkewed", _) => StoreError::Denied(format!(
            "this machine's clock differs too much from that of `{server}`, set it"
        )),
        // Some servers say it in words only.
        ("AccessDenied" | "Forbidden" | "", Some(403)) if said.contains("No such key") => {
            StoreError::Denied(format!(
                "`{server}` does not know the access key, check the credentials: {said}"
            ))
        }
        ("AccessDenied" | "Forbidden" | "", Some(403))
            if said.to_lowercase().contains("signature") =>
        {
            StoreError::Denied(format!(
                "`{server}` does not accept the signature, check the secret key: {said}"
            ))
        }
        (_, Some(403)) => StoreError::Denied(format!(
            "`{server}` denies access to bucket `{bucket}`, check the rights of the credentials{}",
            after(&said)
        )),
        // The SDK takes an answer of 404 without a word for this code.
        ("" | "NotFound", Some(status @ (404 | 405))) if said.is_empty() => {
            no_s3(location, "answers as none does", status)
        }
        ("", Some(200..=299)) => {
            StoreError::Unavailable(format!("an answer of `{server}` cannot be read"))
        }
        _ if is_passing(error) => StoreError::Unavailable(format!(
            "`{server}` is overloaded or out of order{}",
            after(&described(&code, &said, status))
        )),
        _ => {
            let described = described(&code, &said, status);
            StoreError::Other(format!("`{server}` refuses: {described}"))
        }
    }
}

fn another_region<E>(
    location: &S3Location,
    error: &SdkError<E, HttpResponse>,
    reason: &str,
) -> StoreError
where
    E: ProvideErrorMetadata,
{
    let bucket = &location.bucket;
    let answer = error.raw_response();
    let region = answer.and_then(|answer| answer.headers().get("x-amz-bucket-region"));
    StoreError::Misconfigured(match region {
        Some(region) => format!(
            "bucket `{bucket}` is in region `{}`, write `region=` with that in the cache's address",
            said(region)
        ),
        None => format!(
            "bucket `{bucket}` is in another region, write the right `region=` in the cache's address{}",
            after(reason)
        ),
    })
}

/// What an answer says, in its own words if it has any.
fn described(code: &str, said: &str, status: Option<u16>) -> String {
    let what = if said.is_empty() { code } else { said };
    match (what, status) {
        ("", Some(status)) => format!("HTTP status {status}"),
        ("", None) => "no reason is given".to_owned(),
        (what, Some(status)) => format!("{what} (HTTP status {status})"),
        (what, None) => what.to_owned(),
    }
}

fn after(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
