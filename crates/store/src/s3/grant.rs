//! Requests of one object that are signed here and sent by somebody else.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use tokio::time::Instant;

use super::multipart::Multipart;
use super::parts::parts_of;
use super::put::complete;
use super::remote::Remote;
use super::store::S3Store;
use crate::error::StoreError;
use crate::grant::{Allowed, Grant, PresignedUrl};
use crate::grants::{Grants, PendingUpload};
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::upload::{PutCondition, SentPart, Stored};

/// S3 takes no signature that is to be valid for longer.
const LONGEST: Duration = Duration::from_hours(7 * 24);

#[async_trait]
impl Grants for S3Store {
    async fn grant_read(&self, key: &CacheKey, valid: Duration) -> Result<Grant, StoreError> {
        let remote = self.remote().await?;
        let request = remote.client.get_object().bucket(remote.bucket()).key(key.as_str());
        let signed = request.presigned(validity(valid)?).await;
        let signed = signed.map_err(|error| remote.explain(&error))?;
        Ok(grant(remote, key, Allowed::Read(url(&signed))))
    }

    async fn grant_write(
        &self,
        key: &CacheKey,
        metadata: &Metadata,
        bytes: u64,
        valid: Duration,
    ) -> Result<(Grant, PendingUpload), StoreError> {
        let remote = self.remote().await?;
        let upload = Multipart::begin(self, key, metadata, Instant::now() + valid).await?;
        let mut urls = Vec::new();
        for number in 1..=parts_of(bytes) {
            let request = remote
                .client
                .upload_part()
                .bucket(remote.bucket())
                .key(key.as_str())
                .upload_id(upload.id())
                .part_number(number);
            let signed = request.presigned(validity(valid)?).await;
            urls.push(url(&signed.map_err(|error| remote.explain(&error))?));
        }
        Ok((grant(remote, key, Allowed::Write(urls)), PendingUpload(upload)))
    }

    async fn complete(
        &self,
        mut upload: PendingUpload,
        parts: Vec<SentPart>,
        bytes: u64,
        condition: &PutCondition,
    ) -> Result<Stored, StoreError> {
        let key = upload.0.key().clone();
        complete(self, &mut upload.0, &key, condition, parts, bytes).await
    }
}

fn validity(valid: Duration) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(valid.min(LONGEST))
        .map_err(|error| StoreError::Other(format!("cannot sign a request: {error}")))
}

fn url(signed: &PresignedRequest) -> PresignedUrl {
    let headers = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    PresignedUrl { url: signed.uri().to_owned(), headers: headers.collect() }
}

fn grant(remote: &Remote, key: &CacheKey, allows: Allowed) -> Grant {
    let (bucket, endpoint) = (remote.bucket().to_owned(), remote.location.endpoint.clone());
    Grant { key: key.clone(), bucket, endpoint, allows }
}
