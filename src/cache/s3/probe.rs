//! Whether a bucket can be used, found out without leaving anything in it.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;

use super::super::{CacheKey, StoreError};
use super::S3Store;
use super::explain::{explain, is_absent};

const PATIENCE: Duration = Duration::from_secs(3);

/// A name that no archive has.
const NAME: &str = ".ci-probe";

pub async fn probe(store: &S3Store, writes: bool) -> Result<(), StoreError> {
    let look = async { tokio::try_join!(read(store), write(store, writes)).map(drop) };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| {
        let server = store.location.endpoint.as_deref().unwrap_or("Amazon S3");
        let patience = humantime::format_duration(PATIENCE);
        Err(StoreError::Unavailable(format!("`{server}` does not answer within {patience}")))
    })
}

/// Reads what is not there: everything but that has to be in order for the answer.
async fn read(store: &S3Store) -> Result<(), StoreError> {
    let request = store.client().await?.get_object();
    let request = request.bucket(&store.location.bucket).key(key(store)?.as_str());
    let config = aws_sdk_s3::config::Config::builder().retry_config(RetryConfig::disabled());
    match request.customize().config_override(config).send().await {
        Err(error) if !is_absent(&error) => Err(explain(&store.location, &error)),
        _ => Ok(()),
    }
}

/// Begins an upload and takes it back: that needs the right to write and stores nothing.
async fn write(store: &S3Store, writes: bool) -> Result<(), StoreError> {
    if !writes {
        return Ok(());
    }
    let client = store.client().await?;
    let (bucket, key) = (&store.location.bucket, key(store)?);
    let request = client.create_multipart_upload().bucket(bucket).key(key.as_str());
    let config = aws_sdk_s3::config::Config::builder().retry_config(RetryConfig::disabled());
    let begun = request.customize().config_override(config).send().await;
    let begun = begun.map_err(|error| match explain(&store.location, &error) {
        StoreError::Denied(reason) => StoreError::Denied(format!(
            "the cache cannot be written to, allow that or use `cache_policy=pull`: {reason}"
        )),
        other => other,
    })?;
    if let Some(upload) = begun.upload_id() {
        let abort = client.abort_multipart_upload().bucket(bucket).key(key.as_str());
        // One that stays is swept after a day.
        _ = abort.upload_id(upload).send().await;
    }
    Ok(())
}

fn key(store: &S3Store) -> Result<CacheKey, StoreError> {
    let key = match store.location.prefix.as_str() {
        "" => NAME.to_owned(),
        prefix => format!("{prefix}/{NAME}"),
    };
    key.parse().map_err(|error| StoreError::Misconfigured(format!("invalid prefix: {error}")))
}
