//! Requests that somebody else has signed.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::Instant;

use super::client;
use super::get;
use super::parts::{PartSink, Parts, send_all};
use super::redirect::Redirect;
use super::remote::Remote;
use super::sent::CountSent;
use crate::error::StoreError;
use crate::grant::{Allowed, Grant, PresignedUrl};
use crate::key::{CacheKey, KeyPrefix};
use crate::location::S3Location;
use crate::object::{Metadata, ObjectInfo};
use crate::options::StoreOptions;
use crate::store::Objects;
use crate::stream::{Download, Upload};
use crate::upload::{PutCondition, SentPart, Stored};

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

impl Grant {
    /// The one object that this gives access to, for whoever has nothing else. A `put` sends the parts and
    /// returns them; it publishes nothing, and looks at no condition.
    pub async fn open(self, options: &StoreOptions) -> Result<Arc<dyn Objects>, StoreError> {
        Ok(Arc::new(GrantedStore::new(self, options).await?))
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
