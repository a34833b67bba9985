//! Whether a bucket can be used, found out without leaving anything in it.
//!
//! The probe asks for an object that is not there, and begins and aborts an upload below the configured
//! prefix: that needs all rights and leaves nothing. When nothing has come back after a second, a second
//! probe starts beside the first, whose connection may be dead.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use tokio::time::Instant;

use super::explain::{is_absent, no_s3, server};
use super::multipart::Multipart;
use super::retry::Patience;
use super::store::S3Store;
use crate::error::StoreError;
use crate::key::{CacheKey, KeyPrefix};
use crate::object::Metadata;

/// How long the probe takes at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// For how long its requests are sent again: then there is still time to tell why they failed.
const ANSWERS: Duration = Duration::from_millis(2500);

/// When a second probe begins beside one that is not answered: its connection may be a dead one.
const SECOND: Duration = Duration::from_secs(1);

/// A name that no archive has.
const NAME: &str = ".ci-probe";

pub async fn probe(store: &S3Store, writes: bool) -> Result<(), StoreError> {
    let look = async || tokio::try_join!(read(store), write(store, writes)).map(drop);
    let both = async {
        let first = look();
        tokio::pin!(first);
        tokio::select! {
            looked = &mut first => return looked,
            () = tokio::time::sleep(SECOND) => {}
        }
        tokio::select! {
            looked = first => looked,
            looked = look() => looked,
        }
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| {
        let (server, patience) = (server(&store.location), humantime::format_duration(PATIENCE));
        Err(StoreError::Unavailable(format!("`{server}` does not answer within {patience}")))
    })
}

/// Reads what is not there: everything but that has to be in order for the answer.
async fn read(store: &S3Store) -> Result<(), StoreError> {
    let remote = store.remote().await?;
    let key = probe_key(&store.options.prefix, None)?;
    let request = remote.client.get_object().bucket(remote.bucket()).key(key.as_str());
    let patience = Patience { limit: None, ..Patience::new(Instant::now() + ANSWERS, PATIENCE) };
    match remote.retried(&patience, || request.clone().send()).await {
        // S3 says what is not there. The SDK takes an answer of 404 without a word for the same.
        Err(error) if is_absent(&error) && error.code() != Some("NoSuchKey") => {
            Err(no_s3(&store.location, "answers as none does", 404))
        }
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(remote.explain(&error)),
        // Somebody put an object there, or this server has an answer to everything.
        Ok(found) if found.e_tag().is_none() => {
            Err(no_s3(&store.location, "answers with something else", 200))
        }
        Ok(found) => match found.content_type() {
            Some(kind) if kind.starts_with("text/html") => {
                Err(no_s3(&store.location, "answers with a web page", 200))
            }
            _ => Ok(()),
        },
    }
}

/// Begins an upload and takes it back: that needs the right to write and stores nothing.
async fn write(store: &S3Store, writes: bool) -> Result<(), StoreError> {
    if !writes {
        return Ok(());
    }
    let key = probe_key(&store.options.prefix, None)?;
    let begun = Multipart::begin(store, &key, &Metadata::default(), Instant::now() + ANSWERS).await;
    let begun = begun.map_err(|error| match error {
        StoreError::Denied(reason) => StoreError::Denied(format!(
            "the cache cannot be written to, allow that or use `cache_policy=pull`: {reason}"
        )),
        other => other,
    })?;
    // In the background: what cannot be taken back is in the journal.
    drop(begun);
    Ok(())
}

/// The key of what is only there to find something out.
pub fn probe_key(prefix: &KeyPrefix, unique: Option<uuid::Uuid>) -> Result<CacheKey, StoreError> {
    let name = unique.map_or_else(|| NAME.to_owned(), |unique| format!("{NAME}-{unique}"));
    let key = match prefix.as_str() {
        "" => name,
        prefix => format!("{prefix}/{name}"),
    };
    key.parse().map_err(|error| StoreError::Misconfigured(format!("invalid prefix: {error}")))
}

/// Whether a key is one of [`probe_key`].
pub fn is_probe(key: &CacheKey) -> bool {
    let name = key.as_str().rsplit('/').next().unwrap_or_default();
    match name.strip_prefix(NAME) {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix('-').is_some_and(|uuid| uuid::Uuid::parse_str(uuid).is_ok())
        }
        None => false,
    }
}
