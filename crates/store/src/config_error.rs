//! What is wrong with the settings of a cache.

use spec::masked;
use spec::suggest::{did_you_mean, listed};

use crate::key::CacheKeyError;

/// All keys of a DSN that concern the cache.
pub(crate) const KEYS: &[&str] = &[
    "cache",
    "region",
    "endpoint",
    "ttl",
    "cache_compression",
    "cache_prefix",
    "cache_fallback",
    "cache_policy",
    "cache_when",
    "cache_stall",
    "cache_budget",
    "cache_max_entries",
    "cache_max_size",
    "cache_max_ratio",
    "cache_outside_links",
    "cache_setuid",
];

/// What is wrong with a configuration. No message contains a secret.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum CacheConfigError {
    #[error("unknown key `{key}` for the cache{}, expected {}", did_you_mean(.key, KEYS), listed(KEYS))]
    UnknownKey { key: String },
    #[error("key `{key}` is given twice, keep one")]
    Repeated { key: &'static str },
    #[error("key `{key}` belongs to the cache, move it after `cache=`")]
    BeforeStore { key: &'static str },
    #[error("keys of the cache are given without a store, add `cache=s3://bucket`")]
    NoStore,
    #[error("expected `key=value` in the cache's settings, got `{0}`")]
    NotAPair(String),
    #[error("invalid value `{value}` for key `{key}`, expected {expected}")]
    Value { key: &'static str, value: String, expected: String },
    #[error("invalid prefix for key `{key}`: {source}")]
    Prefix { key: &'static str, source: CacheKeyError },
    #[error("key `{key}` is only for stores of the form `s3://`, remove it")]
    OnlyS3 { key: &'static str },
    #[error("`{0}` is not valid percent-encoding, write a literal `%` as `%25`")]
    Encoding(String),
}

impl CacheConfigError {
    pub(crate) fn prefix(key: &'static str, source: CacheKeyError) -> Self {
        let source = match source {
            CacheKeyError::Path(text) => CacheKeyError::Path(masked(&text)),
            other => other,
        };
        Self::Prefix { key, source }
    }
}
