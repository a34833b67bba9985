//! From the keys and values of a DSN to a [`CacheConfig`].

use std::path::PathBuf;
use std::time::Duration;

use archive::{Compression, OutsideLinks, Setuid};
use spec::masked;

use crate::config::{CacheConfig, CachePolicy, CacheWhen};
use crate::config_error::{CacheConfigError, KEYS};
use crate::key::KeyPrefix;
use crate::location::{self, StoreLocation, decoded};

/// Keys of the store's URL, which may stand anywhere after `cache=`.
const STORE_KEYS: &[&str] = &["region", "endpoint", "ttl"];

const MAX_FALLBACKS: usize = 5;

/// Whether a key of a driver's DSN belongs to the cache, known or not.
pub fn is_cache_key(key: &str) -> bool {
    key.starts_with("cache") || STORE_KEYS.contains(&key)
}

impl CacheConfig {
    /// Reads the settings for which [`is_cache_key`] holds, in the order of the DSN and not
    /// percent-decoded. `None` when there is no `cache`.
    ///
    /// `region`, `endpoint` and `ttl` stand in the store's URL or after it.
    pub fn from_settings(settings: &[(String, String)]) -> Result<Option<Self>, CacheConfigError> {
        parse(settings)
    }

    /// Reads a store's URL, with or without other settings in its query:
    /// `s3://bucket/prefix?region=eu-west-1&cache_prefix=main`.
    pub fn from_url(url: &str) -> Result<Self, CacheConfigError> {
        let config = Self::from_settings(&[("cache".into(), url.into())])?;
        config.ok_or(CacheConfigError::NoStore)
    }

    /// A store in a directory of this machine, with settings by their keys, which are not percent-encoded.
    pub fn in_directory(
        root: PathBuf,
        settings: &[(&str, String)],
    ) -> Result<Self, CacheConfigError> {
        let mut config = Self::at(StoreLocation::Directory(root));
        let mut seen = Vec::new();
        for (key, value) in settings {
            let key = known(key)?;
            once(&mut seen, key)?;
            apply(&mut config, key, value)?;
        }
        Ok(config)
    }
}

fn parse(settings: &[(String, String)]) -> Result<Option<CacheConfig>, CacheConfigError> {
    let mut store: Option<CacheConfig> = None;
    let mut seen: Vec<&'static str> = Vec::new();
    // `cache_*` keys may stand before the store that they are about.
    let mut pairs: Vec<(&'static str, String)> = Vec::new();
    for (key, value) in settings {
        let key = known(key)?;
        if key != "cache" {
            if STORE_KEYS.contains(&key) && store.is_none() {
                return Err(CacheConfigError::BeforeStore { key });
            }
            once(&mut seen, key)?;
            pairs.push((key, decoded(value, value)?));
            continue;
        }
        once(&mut seen, key)?;
        // Encoded as a whole, the URL has no `://`; what is encoded inside of it stays so.
        let url = if value.contains("://") { value.clone() } else { decoded(value, value)? };
        let (url, query) = url.split_once('?').unwrap_or((&url, ""));
        // An `@` may be the end of credentials with an unencoded `?`. Only the location's parser says
        // that without showing them; without one, a misspelled key is the better explanation.
        if !query.contains('@') {
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                known(pair.split_once('=').map_or(pair, |(key, _)| key))?;
            }
        }
        store = Some(CacheConfig::at(StoreLocation::parse(url, query)?));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(CacheConfigError::NotAPair(masked(pair)));
            };
            let key = known(key)?;
            once(&mut seen, key)?;
            pairs.push((key, decoded(value, value)?));
        }
    }
    let Some(mut config) = store else {
        return if pairs.is_empty() { Ok(None) } else { Err(CacheConfigError::NoStore) };
    };
    for (key, value) in pairs {
        apply(&mut config, key, &value)?;
    }
    Ok(Some(config))
}

fn known(key: &str) -> Result<&'static str, CacheConfigError> {
    let known = KEYS.iter().copied().find(|known| *known == key);
    known.ok_or_else(|| CacheConfigError::UnknownKey { key: masked(key) })
}

fn once(seen: &mut Vec<&'static str>, key: &'static str) -> Result<(), CacheConfigError> {
    if seen.contains(&key) {
        return Err(CacheConfigError::Repeated { key });
    }
    seen.push(key);
    Ok(())
}

fn apply(config: &mut CacheConfig, key: &'static str, value: &str) -> Result<(), CacheConfigError> {
    let invalid = |expected: &str| CacheConfigError::Value {
        key,
        value: masked(value),
        expected: expected.into(),
    };
    let prefix = |text: &str| {
        text.parse::<KeyPrefix>().map_err(|source| CacheConfigError::prefix(key, source))
    };
    let count = |text: &str| {
        let count = text.parse::<u64>().ok().filter(|count| *count > 0);
        count.ok_or_else(|| invalid("a whole number above 0"))
    };
    match key {
        "region" | "endpoint" => {
            let StoreLocation::S3(s3) = &mut config.location else {
                return Err(CacheConfigError::OnlyS3 { key });
            };
            if key == "region" {
                if !is_region(value) {
                    return Err(invalid("a region such as `eu-west-1`"));
                }
                s3.region = Some(value.into());
            } else if !location::is_endpoint(value) {
                return Err(invalid("`http://host:port` or `https://host`, without credentials"));
            } else if s3.endpoint.replace(value.trim_end_matches('/').into()).is_some() {
                return Err(CacheConfigError::Repeated { key });
            }
        }
        "ttl" => {
            let ttl = duration(value, Duration::MAX, TTL);
            config.ttl = Some(ttl.map_err(|expected| invalid(&expected))?);
        }
        "cache_compression" => {
            let compression = value.parse::<Compression>().ok();
            config.compression = compression.ok_or_else(|| invalid("`zstd`, `gzip` or `none`"))?;
        }
        "cache_prefix" => config.prefix = prefix(value)?,
        "cache_fallback" => {
            config.fallback = value.split(',').map(prefix).collect::<Result<_, _>>()?;
            if config.fallback.len() > MAX_FALLBACKS {
                return Err(invalid("at most five prefixes, separated by commas"));
            }
        }
        "cache_policy" => {
            config.policy = match value {
                "pull-push" => CachePolicy::PullPush,
                "pull" => CachePolicy::Pull,
                "push" => CachePolicy::Push,
                "none" => CachePolicy::None,
                _ => return Err(invalid("`pull-push`, `pull`, `push` or `none`")),
            };
        }
        "cache_when" => {
            config.when = match value {
                "success" => CacheWhen::Success,
                "always" => CacheWhen::Always,
                "failure" => CacheWhen::Failure,
                _ => return Err(invalid("`success`, `always` or `failure`")),
            };
        }
        "cache_stall" => {
            config.stall = duration(value, DAY, LIMIT).map_err(|expected| invalid(&expected))?;
        }
        "cache_budget" => {
            config.budget = duration(value, DAY, LIMIT).map_err(|expected| invalid(&expected))?;
        }
        "cache_max_entries" => config.max_entries = Some(count(value)?),
        "cache_max_size" => {
            let size = value.parse::<bytesize::ByteSize>().ok().filter(|size| size.as_u64() > 0);
            let size = size.ok_or_else(|| invalid("a size above 0 such as `20GiB` or `500MB`"))?;
            config.max_size = Some(size.as_u64());
        }
        "cache_max_ratio" => config.max_ratio = Some(count(value)?),
        "cache_outside_links" => {
            config.outside_links = match value {
                "refuse" => OutsideLinks::Refuse,
                "keep" => OutsideLinks::Keep,
                _ => return Err(invalid("`refuse` or `keep`")),
            };
        }
        "cache_setuid" => {
            config.setuid = match value {
                "drop" => Setuid::Drop,
                "keep" => Setuid::Keep,
                _ => return Err(invalid("`drop` or `keep`")),
            };
        }
        _ => {}
    }
    Ok(())
}

const TTL: &str = "a duration above 0 such as `24h`, `7d`, `168h` or `90m`";
const LIMIT: &str = "a duration above 0 of at most a day such as `30s` or `10m`";
const DAY: Duration = Duration::from_secs(86_400);

/// A duration above zero and up to `longest`, or what was expected.
fn duration(text: &str, longest: Duration, expected: &str) -> Result<Duration, String> {
    match spec::duration::parse(text) {
        Ok(value) if !value.is_zero() && value <= longest => Ok(value),
        Ok(_) => Err(expected.to_owned()),
        Err(error) => Err(format!("{expected}{}", error.hint())),
    }
}

fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
