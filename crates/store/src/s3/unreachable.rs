//! What kept a request from being answered.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::error::StoreError;
use crate::printable::said;

/// What is said of services that give credentials when they may do so later.
const LATE: &[&str] = &[
    "timed out",
    "timeout",
    "time out",
    "connection",
    "dns error",
    "failed to lookup",
    "throttl",
    "too many requests",
    "unavailable",
    "internal server error",
];

/// What kept a request from being answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreachable {
    NoCredentials,
    /// The service that gives them does not answer now.
    CredentialsLate,
    NoSuchName,
    NobodyListens,
    Certificate,
    NoTls,
    Slow,
    CutOff,
    /// In the words of the libraries below.
    Other(String),
}

impl Unreachable {
    /// Known by the words of the libraries below, since they have no types for it.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let chain = DisplayErrorContext(error).to_string().to_lowercase();
        Self::known(&chain).unwrap_or_else(|| Self::Other(causes(error)))
    }

    /// By a chain of errors in lower case.
    fn known(chain: &str) -> Option<Self> {
        let has = |words: &[&str]| words.iter().any(|word| chain.contains(word));
        Some(if has(&["no providers in chain"]) {
            Self::NoCredentials
        } else if has(&["credentials", "identity"]) {
            // A service gives them that may answer next time.
            match has(LATE) {
                true => Self::CredentialsLate,
                false => Self::NoCredentials,
            }
        } else if has(&["dns error", "failed to lookup", "name or service not known"]) {
            Self::NoSuchName
        } else if has(&["connection refused"]) {
            Self::NobodyListens
        } else if has(&["certificate", "invalid peer", "fatal alert"]) {
            Self::Certificate
        } else if has(&["corrupt message"]) {
            Self::NoTls
        } else if has(&["timed out", "timeout", "minimum throughput", "stalled"]) {
            Self::Slow
        } else if has(&[
            "reset",
            "broken pipe",
            "incomplete",
            "connection closed",
            "unexpected eof",
            "unexpectedeof",
            "close_notify",
        ]) {
            Self::CutOff
        } else {
            return None;
        })
    }

    /// Whether the next attempt may be answered.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::NoCredentials | Self::Certificate | Self::NoTls)
    }

    pub fn explain(self, server: &str) -> StoreError {
        let reason = match self {
            Self::NoCredentials => {
                return StoreError::Denied(
                    "there are no credentials, set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_PROFILE`".to_owned(),
                );
            }
            Self::CredentialsLate => {
                "the service that gives the credentials does not answer in time, check that service"
            }
            Self::NoSuchName => "its name cannot be resolved",
            Self::NobodyListens => "nothing listens there",
            Self::Certificate => {
                "its TLS certificate is not accepted, name the file of the authority that has signed it with `AWS_CA_BUNDLE`"
            }
            Self::NoTls => "it does not speak TLS, write `http://` before its host",
            Self::Slow => "it does not answer in time",
            Self::CutOff => "the connection was cut off",
            Self::Other(ref causes) => causes,
        };
        StoreError::Unavailable(format!("`{server}` cannot be reached: {reason}"))
    }
}

/// An error and what caused it, each in its own words and none twice.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = said(&error.to_string());
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_come_too_late_are_not_missing() {
        for (chain, known) in [
            ("no providers in chain provided credentials", Unreachable::NoCredentials),
            (
                "the credential provider was not enabled: no providers in chain provided credentials: connection refused",
                Unreachable::NoCredentials,
            ),
            ("credentials provider timed out after 5 seconds", Unreachable::CredentialsLate),
            ("identity resolver timed out after 5s", Unreachable::CredentialsLate),
            (
                "an error occurred while loading credentials: service error: throttling: rate exceeded",
                Unreachable::CredentialsLate,
            ),
            (
                "failed to load credentials: dispatch failure: dns error",
                Unreachable::CredentialsLate,
            ),
            ("the credentials in the file are malformed", Unreachable::NoCredentials),
            ("connection reset by peer", Unreachable::CutOff),
        ] {
            let found = Unreachable::known(chain).unwrap();
            assert_eq!(found, known, "{chain}");
            let is_lasting = found == Unreachable::NoCredentials;
            assert_eq!(found.is_passing(), !is_lasting, "{chain}");
        }
    }
}
