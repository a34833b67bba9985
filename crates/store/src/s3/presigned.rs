//! Requests that somebody else has signed.

use async_trait::async_trait;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::Instant;

pub use super::super::grant::PresignedUrl;
use super::super::grant::{Allowed, Grant};
use super::super::{
    CacheKey, Download, KeyPrefix, Metadata, ObjectInfo, Objects, PutCondition, S3Location,
    SentPart, StoreError, StoreOptions, Stored, Upload,
};
use super::client;
use super::get;
use super::put::{PartSink, Parts, send_all};
use super::remote::Remote;
use super::sent::CountSent;

/// The object that a [`Grant`] gives access to.
pub struct GrantedStore {
    key: CacheKey,
    remote: Arc<Remote>,
    /// For each part of an upload.
    parts: Vec<PresignedUrl>,
}

impl GrantedStore {
    pub async fn new(grant: Grant, options: &StoreOptions) -> Result<Self, StoreError> {
        let Grant { key, bucket, endpoint, allows } = grant;
        let location = S3Location {
            bucket,
            prefix: KeyPrefix::EMPTY,
            region: None,
            endpoint,
            credentials: None,
        };
        let mut remote = client::anonymous(location, options).await?;
        let parts = match allows {
            Allowed::Read(url) => {
                remote.granted = Some(url);
                Vec::new()
            }
            Allowed::Write(parts) => parts,
        };
        Ok(Self { key, remote: Arc::new(remote), parts })
    }

    fn has(&self, key: &CacheKey, is_allowed: bool) -> Result<(), StoreError> {
        match *key == self.key && is_allowed {
            true => Ok(()),
            false => Err(StoreError::Denied(format!("nobody has granted access to `{key}`"))),
        }
    }
}

#[async_trait]
impl Objects for GrantedStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Download)>, StoreError> {
        self.has(key, self.remote.granted.is_some())?;
        get::get(&self.remote, key).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        _: &Metadata,
        _: &PutCondition,
        mut chunks: Upload,
    ) -> Result<Stored, StoreError> {
        self.has(key, !self.parts.is_empty())?;
        let budget = self.remote.budget;
        let sink = GrantedParts { store: self, until: Instant::now() + budget };
        let put = async {
            let mut parts = Parts::new(&mut chunks, key);
            let first = parts.first().await?;
            let (sent, size) = send_all(&sink, first, &mut parts).await?;
            Ok(Stored { size, notice: None, parts: Some(sent) })
        };
        let over = || StoreError::OverBudget { key: key.clone(), budget };
        tokio::time::timeout(budget, put).await.unwrap_or_else(|_| Err(over()))
    }

    fn retries(&self) -> bool {
        true
    }
}

struct GrantedParts<'a> {
    store: &'a GrantedStore,
    /// How long requests are sent again.
    until: Instant,
}

impl PartSink for GrantedParts<'_> {
    async fn part(&self, number: i32, bytes: Bytes) -> Result<SentPart, StoreError> {
        let GrantedStore { key, remote, parts } = self.store;
        let url = usize::try_from(number - 1).ok().and_then(|index| parts.get(index));
        let Some(url) = url else {
            return Err(StoreError::Other(format!(
                "the archive for `{key}` is larger than the upload that was granted"
            )));
        };
        let (patience, counting) = remote.patience_for_body(self.until);
        let send = || {
            remote
                .client
                .upload_part()
                .bucket(remote.bucket())
                .key(key.as_str())
                // The URL has the upload's own.
                .upload_id("granted")
                .part_number(number)
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .interceptor(CountSent(counting.0.clone()))
                .interceptor(Redirect(Some(url.clone())))
                .send()
        };
        let sent = remote.retried(&patience, send).await;
        let sent = sent.map_err(|error| remote.explain(&error))?;
        Ok(SentPart { number, etag: sent.e_tag().unwrap_or_default().to_owned() })
    }
}

/// Sends a request to the address that somebody has signed, instead of signing it here.
#[derive(Debug)]
pub struct Redirect(pub Option<PresignedUrl>);

impl Intercept for Redirect {
    fn name(&self) -> &'static str {
        "Redirect"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(PresignedUrl { url, headers }) = &self.0 else { return Ok(()) };
        let request = context.request_mut();
        request.set_uri(url.as_str())?;
        // S3 refuses headers of its own that were not signed.
        let own: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .filter(|name| name.starts_with("x-amz-") || name.starts_with("amz-sdk-"))
            .collect();
        for name in own {
            request.headers_mut().remove(name);
        }
        for (name, value) in headers {
            request.headers_mut().try_insert(name.clone(), value.clone())?;
        }
        Ok(())
    }
}
