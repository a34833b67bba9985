//! Where archives of volumes are kept between runs: configuration, keys, the contract of a store,
//! and the stores.

#![cfg_attr(not(feature = "s3"), allow(dead_code, unused_imports))]

mod config;
mod directory;
#[cfg(feature = "s3")]
mod grant;
mod key;
mod location;
mod printable;
mod progress;
#[cfg(feature = "s3")]
mod s3;
mod settings;
mod store;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use config::{CacheConfig, CachePolicy, CacheWhen, RestoreSource, is_cache_key};
pub use directory::DirectoryStore;
#[cfg(feature = "s3")]
pub use grant::{Allowed, Grant, Grants, PendingUpload, PresignedUrl};
pub use key::{CacheKey, CacheKeyError, KEY_VERSION, KeyPrefix};
pub use location::{S3Location, StaticCredentials, StoreLocation};
pub use printable::{printable, printable_json};
pub use progress::Progress;
#[cfg(feature = "s3")]
pub use s3::S3Store;
pub use settings::CacheConfigError;
pub use store::{
    CacheStore, Metadata, ObjectInfo, Objects, PutCondition, SentPart, StoreError, Stored,
    UploadInfo, UploadWriter,
};
pub use stream::{Download, Upload, UploadClosed, UploadSender};

/// How patient a store is, and where it keeps notes of its own.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A transfer that moves no byte for this long is retried.
    pub stall: Duration,
    /// The most time that one `get` or `put` may take, retries included.
    pub budget: Duration,
    /// How long any other request is sent again that fails for a passing reason.
    pub retry: Duration,
    /// Below which archives are written, and so where the right to do so is looked at.
    pub prefix: KeyPrefix,
    /// A directory of this machine for the journal of uploads; it is made when needed.
    pub state: PathBuf,
}

/// The store that a configuration names. Nothing is read, connected to or started by this.
#[cfg(feature = "s3")]
pub fn open(config: &CacheConfig, state: PathBuf) -> Arc<dyn CacheStore> {
    open_with(config, config.budget, state)
}

/// The same for somebody who waits for no request longer than `retry`, whatever the configuration allows.
#[cfg(feature = "s3")]
pub fn open_with(config: &CacheConfig, retry: Duration, state: PathBuf) -> Arc<dyn CacheStore> {
    // A prefix that is too long for any key is told of when a key is made.
    let prefix = config.key_prefix().unwrap_or_else(|_| config.location.prefix().clone());
    let (stall, budget) = (config.stall, config.budget);
    let options = StoreOptions { stall, budget, retry: retry.min(budget), prefix, state };
    match &config.location {
        StoreLocation::S3(location) => Arc::new(S3Store::new(location.clone(), options)),
        StoreLocation::Directory(root) => Arc::new(DirectoryStore::new(root.clone())),
    }
}
