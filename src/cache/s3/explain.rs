//! The SDK's errors in plain words.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::super::{S3Location, StoreError};

/// Whether an answer says that an object or an upload is not there.
pub fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error.code() {
        Some("NoSuchKey" | "NoSuchUpload" | "NotFound") => true,
        // The answer to a HEAD request has no body that could say it.
        None => error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404),
        Some(_) => false,
    }
}

pub fn explain<E>(location: &S3Location, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let bucket = &location.bucket;
    let server = location.endpoint.as_deref().unwrap_or("Amazon S3");
    match error {
        SdkError::TimeoutError(_) => {
            return StoreError::Unavailable(format!("`{server}` does not answer"));
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            return unreachable(server, &DisplayErrorContext(error).to_string());
        }
        _ => {}
    }
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let code = error.code().unwrap_or_default();
    let said = error.message().unwrap_or_default();
    match (code, status) {
        ("NoSuchBucket", _) => StoreError::Misconfigured(format!(
            "there is no bucket `{bucket}` at `{server}`, create it or name another one"
        )),
        (
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        )
        | ("", Some(301)) => {
            let region = error
                .raw_response()
                .and_then(|answer| answer.headers().get("x-amz-bucket-region"))
                .map(|region| format!("`{region}`"));
            StoreError::Misconfigured(match region {
                Some(region) => format!(
                    "bucket `{bucket}` is in region {region}, write `region=` with that in the cache's address"
                ),
                None => format!(
                    "bucket `{bucket}` is in another region, write the right `region=` in the cache's address: {said}"
                ),
            })
        }
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
            after(said)
        )),
        ("SlowDown" | "ServiceUnavailable" | "InternalError", _) | (_, Some(500..)) => {
            StoreError::Unavailable(format!(
                "`{server}` is overloaded or out of order{}",
                after(if said.is_empty() { code } else { said })
            ))
        }
        _ => {
            let what = if said.is_empty() { code } else { said };
            let status = status.map_or_else(String::new, |status| format!(" ({status})"));
            match what.is_empty() {
                // It was cut off on its way.
                true => unreachable(server, &DisplayErrorContext(error).to_string()),
                false => StoreError::Other(format!("`{server}` refuses: {what}{status}")),
            }
        }
    }
}

fn after(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// What kept a request from being answered, by the words of the libraries below.
fn unreachable(server: &str, chain: &str) -> StoreError {
    let lower = chain.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["no providers in chain", "credentials", "identity"]) {
        return StoreError::Denied(
            "there are no credentials, set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_PROFILE`".to_owned(),
        );
    }
    let reason = if has(&["dns error", "failed to lookup", "name or service not known"]) {
        "its name cannot be resolved"
    } else if has(&["connection refused"]) {
        "nothing listens there"
    } else if has(&["certificate", "tls", "invalid peer"]) {
        "its TLS certificate is not accepted, name the file of the authority that has signed it with `AWS_CA_BUNDLE`"
    } else if has(&["timed out", "timeout", "minimum throughput", "stalled"]) {
        "it does not answer in time"
    } else if has(&["reset", "broken pipe", "incomplete", "connection closed", "unexpected eof"]) {
        "the connection was cut off"
    } else {
        return StoreError::Unavailable(format!("`{server}` cannot be reached: {chain}"));
    };
    StoreError::Unavailable(format!("`{server}` cannot be reached: {reason}"))
}
