//! Where archives of volumes are kept between runs: configuration, keys, the contract of a store,
//! and the stores.

#![cfg_attr(not(feature = "s3"), allow(dead_code, unused_imports))]

mod config;
mod config_error;
mod directory;
mod error;
#[cfg(feature = "s3")]
mod grant;
#[cfg(feature = "s3")]
mod grants;
mod key;
mod location;
mod lru;
mod object;
mod options;
mod printable;
mod progress;
#[cfg(feature = "s3")]
mod s3;
mod settings;
mod store;
mod stream;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use config::{CacheConfig, CachePolicy, CacheWhen, RestoreSource};
pub use config_error::CacheConfigError;
pub use directory::{DirectoryStore, Eviction};
pub use error::StoreError;
#[cfg(feature = "s3")]
pub use grant::{Allowed, Grant, PresignedUrl};
#[cfg(feature = "s3")]
pub use grants::{Grants, PendingUpload};
pub use key::{CacheKey, CacheKeyError, KEY_VERSION, KeyPrefix};
pub use location::{S3Location, StaticCredentials, StoreLocation};
pub use lru::least_recently_used;
pub use object::{Metadata, ObjectInfo};
pub use options::StoreOptions;
pub use printable::{printable, printable_json};
pub use progress::Progress;
#[cfg(feature = "s3")]
pub use s3::S3Store;
pub use settings::is_cache_key;
pub use store::{CacheStore, Objects};
pub use stream::{Download, Upload, UploadClosed, UploadSender};
pub use upload::{PutCondition, SentPart, Stored, UploadInfo, UploadWriter};

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
