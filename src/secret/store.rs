//! The credentials of a store, which are masked like the secrets of a pipeline.

use std::os::unix::ffi::OsStringExt;

use mask::SecretValue;
use store::{CacheConfig, StoreLocation};

/// The variables that the AWS SDK takes credentials from.
const VARIABLES: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// What is secret in a store's address, or else in this process's variables.
pub fn of_store(config: &CacheConfig) -> Vec<(String, SecretValue)> {
    let StoreLocation::S3(location) = &config.location else { return Vec::new() };
    if let Some(credentials) = &location.credentials {
        let value = SecretValue::new(credentials.secret.clone().into_bytes());
        return vec![("the secret key of the cache".to_owned(), value)];
    }
    let value = |name: &&str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(((*name).to_owned(), SecretValue::new(value.into_vec())))
    };
    VARIABLES.iter().filter_map(value).collect()
}
