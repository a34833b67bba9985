//! The condition that a request sends along which publishes an object.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::explain::is_failed_condition;

/// What is sent along with the request that publishes an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    None,
    /// Only in the place of this version.
    Match(String),
    /// Only where nothing is. Servers that do not know this take it for nothing or refuse it.
    Absent,
}

impl Header {
    pub fn if_match(&self) -> Option<String> {
        match self {
            Self::Match(etag) => Some(etag.clone()),
            Self::None | Self::Absent => None,
        }
    }

    pub fn if_none_match(&self) -> Option<String> {
        (*self == Self::Absent).then(|| "*".to_owned())
    }

    /// Whether an error says that the condition does not hold.
    pub fn has_failed<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> bool {
        match self {
            Self::None => false,
            Self::Absent => is_failed_condition(error),
            Self::Match(_) => {
                is_failed_condition(error) || matches!(error.code(), Some("NoSuchKey" | "NotFound"))
            }
        }
    }

    /// Whether an error may say that the server does not take the header.
    pub fn is_refused<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> bool {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        *self == Self::Absent && matches!(status, Some(400 | 501))
    }
}
