//! A bucket, and how requests to it are sent.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

use super::explain::{explain, is_absent_head};
use super::object::{metadata, size, time};
use super::redirect::Redirect;
use super::retry::{Patience, retried};
use super::sent::CountSent;
use crate::error::StoreError;
use crate::grant::PresignedUrl;
use crate::key::CacheKey;
use crate::location::S3Location;
use crate::object::ObjectInfo;
use crate::progress::Progress;

pub struct Remote {
    pub client: Client,
    pub location: S3Location,
    /// How long nothing may happen.
    pub stall: Duration,
    /// For how long a request is sent again that is not a part of a transfer with a time of its own.
    pub retry: Duration,
    /// The most time that one download may take, retries included.
    pub budget: Duration,
    /// Where all requests go that read an object, if whoever granted that has signed them.
    pub granted: Option<PresignedUrl>,
}

impl Remote {
    pub fn bucket(&self) -> &str {
        &self.location.bucket
    }

    /// For requests that read an object.
    pub fn redirect(&self) -> Redirect {
        Redirect(self.granted.clone())
    }

    /// For requests whose answers are small.
    pub fn patience(&self) -> Patience {
        Patience::new(Instant::now() + self.retry, self.stall)
    }

    /// For requests of a transfer that has time until then and a large body. With what counts the body.
    pub fn patience_for_body(&self, until: Instant) -> (Patience, CountSent) {
        let progress = Progress::default();
        let counting = CountSent(progress.clone());
        (Patience { progress: Some(progress), ..Patience::new(until, self.stall) }, counting)
    }

    /// Sends a request until it succeeds, or fails for good.
    pub async fn retried<T, E, F>(
        &self,
        patience: &Patience,
        send: impl Fn() -> F,
    ) -> Result<T, SdkError<E, HttpResponse>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        retried(patience, send).await
    }

    pub fn explain<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        explain(&self.location, error)
    }

    /// Whether what is sent is signed too. Under TLS nobody could change it on its way.
    pub fn signs_payload(&self) -> bool {
        self.location.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    /// What is known of an object, and the token of its writer.
    pub async fn head(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Token)>, StoreError> {
        let request = self.client.head_object().bucket(self.bucket()).key(key.as_str());
        match self.retried(&self.patience(), || request.clone().send()).await {
            Ok(found) => {
                let token = found.metadata().and_then(|pairs| pairs.get(TOKEN)).cloned();
                let info = ObjectInfo {
                    key: key.clone(),
                    size: size(found.content_length()),
                    modified: time(found.last_modified()),
                    used: None,
                    etag: found.e_tag().unwrap_or_default().to_owned(),
                    metadata: metadata(found.metadata()),
                };
                Ok(Some((info, Token(token))))
            }
            Err(error) if is_absent_head(&error) => Ok(None),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Whether an object is the one that was written with this token.
    pub async fn is_written_with(&self, key: &CacheKey, token: &str) -> bool {
        let found = self.head(key).await;
        found.is_ok_and(|found| found.is_some_and(|(_, found)| found.0.as_deref() == Some(token)))
    }
}

/// The name of the token in an object's metadata.
pub const TOKEN: &str = "ci-upload";

/// Stands in an object's metadata, unlike in that of any other upload: so its writer knows it again when
/// the answer to the upload was lost.
pub struct Token(Option<String>);
