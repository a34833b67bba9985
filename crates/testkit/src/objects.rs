//! Objects in stores, put and got as tests do it.

use std::sync::Arc;

use bytes::Bytes;
use store::{CacheConfig, CacheKey, CacheStore, Metadata, PutCondition, StoreError, Upload};

use crate::{Proxy, S3};

pub fn open(url: &str, state: &tempfile::TempDir) -> Arc<dyn CacheStore> {
    store::open(&CacheConfig::from_url(url).unwrap(), state.path().to_owned())
}

pub fn key(config: &str, name: &str) -> CacheKey {
    let prefix = CacheConfig::from_url(config).unwrap().key_prefix().unwrap();
    match prefix.as_str() {
        "" => name.parse().unwrap(),
        prefix => format!("{prefix}/{name}").parse().unwrap(),
    }
}

/// Nothing that could be mistaken for another content.
pub fn content(seed: u8, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

pub async fn put(store: &dyn CacheStore, key: &CacheKey, bytes: Bytes) -> Result<u64, StoreError> {
    put_with(store, key, &Metadata::default(), bytes).await
}

pub async fn put_with(
    store: &dyn CacheStore,
    key: &CacheKey,
    metadata: &Metadata,
    bytes: Bytes,
) -> Result<u64, StoreError> {
    put_if(store, key, metadata, &PutCondition::None, bytes).await
}

pub async fn put_if(
    store: &dyn CacheStore,
    key: &CacheKey,
    metadata: &Metadata,
    condition: &PutCondition,
    bytes: Bytes,
) -> Result<u64, StoreError> {
    let (sender, upload) = Upload::channel(1);
    let send = async {
        for chunk in bytes.chunks(3_000_001) {
            if sender.send(bytes.slice_ref(chunk)).await.is_err() {
                return;
            }
        }
        _ = sender.finish(None).await;
    };
    let stored = tokio::join!(store.put(key, metadata, condition, upload), send).0?;
    Ok(stored.size)
}

pub async fn get(store: &dyn CacheStore, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
    let Some((info, mut download)) = store.get(key).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, info.size);
    Ok(Some(bytes))
}

/// Runs on both kinds of stores, each below a prefix of its own.
pub async fn on_each_store<T: Future<Output = ()>>(
    name: &str,
    test: impl Fn(Arc<dyn CacheStore>, String) -> T,
) {
    let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for url in [format!("file://{}", root.path().display()), S3::from_environment().url(name)] {
        test(open(&url, &state), url).await;
    }
}

/// Another program that uses the same bucket.
pub fn other_program() -> aws_sdk_s3::Client {
    let s3 = S3::from_environment();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .credentials_provider(aws_sdk_s3::config::Credentials::new(
            &s3.key, &s3.secret, None, None, "test",
        ))
        .region(aws_sdk_s3::config::Region::new(s3.region.clone()))
        .endpoint_url(format!("http://{}", s3.address))
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// The uploads that the server knows of below a URL's prefix.
pub async fn uploads(url: &str) -> Vec<String> {
    let s3 = S3::from_environment();
    let prefix = CacheConfig::from_url(url).unwrap().key_prefix().unwrap();
    let listed =
        other_program().list_multipart_uploads().bucket(&s3.bucket).prefix(prefix.as_str());
    let listed = listed.send().await.unwrap();
    listed.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)).collect()
}

/// A store behind a proxy that does this to the `n`th request of a put or get.
pub fn behind(
    proxy: &Proxy,
    name: &str,
    state: &tempfile::TempDir,
) -> (Arc<dyn CacheStore>, String) {
    behind_for("60s", proxy, name, state)
}

/// The same with this `cache_budget`.
pub fn behind_for(
    budget: &str,
    proxy: &Proxy,
    name: &str,
    state: &tempfile::TempDir,
) -> (Arc<dyn CacheStore>, String) {
    let s3 = S3::from_environment();
    let url = s3.url(name).replace(&s3.address, &proxy.address.to_string());
    (open(&format!("{url}&cache_stall=5s&cache_budget={budget}"), state), url)
}
