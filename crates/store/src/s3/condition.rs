//! Whether a server publishes an object only if another one is still what it was.
//!
//! Servers that ignore `If-Match` are found out with an object of a random name. For these the ETag is
//! compared right before the object is published.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::Instant;

use super::explain;
use super::header::Header;
use super::multipart::Multipart;
use super::parts::PartSink;
use super::probe::probe_key;
use super::remote::Remote;
use super::store::S3Store;
use crate::error::StoreError;
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::upload::PutCondition;

/// The etag of no object.
const NO_ETAG: &str = "\"00000000000000000000000000000000\"";

/// By which request an object is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    Put,
    Complete,
}

/// How often an object is compared that others replace in the moment in which it is published.
pub const COMPARISONS: usize = 4;

/// Compares the object with what the condition asks for, right before it is replaced. Returns the condition to send
/// along, and what the user should know if the server does not honour one.
pub async fn check(
    store: &S3Store,
    key: &CacheKey,
    condition: &PutCondition,
    publish: Publish,
) -> Result<(Header, Option<String>), StoreError> {
    let etag = match condition {
        PutCondition::None => return Ok((Header::None, None)),
        PutCondition::Ours(known) => {
            let found = store.remote().await?.head(key).await?;
            return match found {
                None => Ok((Header::Absent, None)),
                // Of runs that succeed, the last one wins.
                Some((info, _)) if info.metadata.is_ours() || *known == Some(info.etag.clone()) => {
                    Ok((Header::None, None))
                }
                Some(_) => Err(StoreError::Foreign { key: key.clone() }),
            };
        }
        PutCondition::Version(etag) => etag,
    };
    let honours = honours(store, publish).await?;
    let remote = store.remote().await?;
    let found = remote.head(key).await?;
    if found.is_none_or(|(info, _)| info.etag != *etag) {
        return Err(StoreError::Replaced { key: key.clone() });
    }
    if honours {
        return Ok((Header::Match(etag.clone()), None));
    }
    let server = explain::server(&remote.location);
    Ok((
        Header::None,
        Some(format!(
            "`{server}` has no conditional writes, so what another run wrote to `{key}` in the same moment \
             may have been replaced"
        )),
    ))
}

/// Finds out by publishing a small object that must not be published. Its name is a random one, so that
/// a server that publishes it all the same replaces nothing, and it can be removed again.
async fn honours(store: &S3Store, publish: Publish) -> Result<bool, StoreError> {
    let cell = match publish {
        Publish::Put => &store.honours_put,
        Publish::Complete => &store.honours_complete,
    };
    let honours = cell.get_or_try_init(async || {
        let remote = store.remote().await?;
        let key = probe_key(&store.options.prefix, Some(uuid::Uuid::new_v4()))?;
        let refused = match publish {
            Publish::Put => put(remote, &key).await,
            Publish::Complete => complete(store, &key).await?,
        };
        if !refused {
            let request = remote.client.delete_object().bucket(remote.bucket()).key(key.as_str());
            let deleted = remote.retried(&remote.patience(), || request.clone().send()).await;
            deleted.map_err(|error| remote.explain(&error))?;
        }
        Ok::<_, StoreError>(refused)
    });
    honours.await.copied()
}

/// Whether the server refuses a put whose condition does not hold. One that does not know of conditions
/// may also refuse the header.
async fn put(remote: &Remote, key: &CacheKey) -> bool {
    let send = || {
        remote
            .client
            .put_object()
            .bucket(remote.bucket())
            .key(key.as_str())
            .if_match(NO_ETAG)
            .body(ByteStream::from_static(b"ci"))
            .send()
    };
    let sent = remote.retried(&remote.patience(), send).await;
    sent.is_err_and(|error| {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        matches!(status, Some(404 | 412))
    })
}

async fn complete(store: &S3Store, key: &CacheKey) -> Result<bool, StoreError> {
    let until = Instant::now() + store.options.retry;
    let mut upload = Multipart::begin(store, key, &Metadata::default(), until).await?;
    let part = upload.part(1, Bytes::from_static(b"ci")).await?;
    let condition = Header::Match(NO_ETAG.to_owned());
    match upload.complete(vec![part], &condition).await {
        Ok(()) => Ok(false),
        Err(StoreError::Replaced { .. }) => Ok(true),
        // It does not take the header.
        Err(_) => Ok(false),
    }
}
