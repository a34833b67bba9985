//! Driver DSNs: where tasks run and volumes are cached, in one line of text.
//!
//! ```text
//! native
//! native://namespace?key=value&key=value
//! native:key=value,key=value
//! ```
//!
//! The query form decodes `%xx`; the comma form takes values as they are. The address of a cache may
//! itself have a query, encoded or not: `native://?cache=s3://bucket?region=eu-west-1&grace=1s`.

use std::str::FromStr;

use crate::driver::{DRIVERS, DriverConfig, DriverConfigError};
use spec::{masked, percent_decoded};
use store::{CacheConfig, CacheConfigError, is_cache_key};

/// What a DSN says, parsed and checked.
#[derive(Clone, Debug)]
pub struct Dsn {
    pub driver: DriverConfig,
    pub cache: Option<CacheConfig>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum DsnError {
    #[error("{0}")]
    Driver(DriverConfigError),
    #[error("{0}")]
    Cache(#[from] CacheConfigError),
    #[error("expected `key=value` in the driver's settings, got `{}`", masked(.0))]
    NotAPair(String),
    #[error("expected a driver's name and a namespace, got credentials, write them into `cache=`")]
    Credentials,
    #[error("expected `://` before the `?`, as in `{0}://?key=value`")]
    NoSlashes(String),
    #[error("`{}` is not valid percent-encoding, write a literal `%` as `%25`", masked(.0))]
    Encoding(String),
}

impl From<DriverConfigError> for DsnError {
    /// A driver knows nothing of secrets, and somebody may have put one into the wrong place. What the
    /// user wrote is masked, help texts are not.
    fn from(error: DriverConfigError) -> Self {
        use DriverConfigError as Error;
        Self::Driver(match error {
            Error::UnknownDriver { name, known } => {
                Error::UnknownDriver { name: masked(&name), known }
            }
            Error::UnknownKey { driver, key, known } => {
                Error::UnknownKey { driver, key: masked(&key), known }
            }
            Error::Value { key, value, expected } => {
                Error::Value { key, value: masked(&value), expected }
            }
            error @ (Error::NotBuiltIn { .. } | Error::Repeated { .. }) => error,
        })
    }
}

impl FromStr for Dsn {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, DsnError> {
        let Parts { driver, settings, cache } = Parts::of(text)?;
        let driver = DriverConfig::new(driver, settings)?;
        Ok(Self { driver, cache: CacheConfig::from_settings(&cache)? })
    }
}

/// What the DSN of any driver says of the cache, whether or not this binary has the driver.
pub fn cache_of(text: &str) -> Result<Option<CacheConfig>, DsnError> {
    Ok(CacheConfig::from_settings(&Parts::of(text)?.cache)?)
}

struct Parts<'a> {
    driver: &'a str,
    /// Decoded.
    settings: Vec<(String, String)>,
    /// As written, since the address in it has an encoding of its own.
    cache: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, DsnError> {
        let (driver, rest) = text.split_once(':').unwrap_or((text, ""));
        if let Some((name, _)) = driver.split_once('?').filter(|(name, _)| is_driver(name)) {
            return Err(DsnError::NoSlashes(name.to_owned()));
        }
        if driver.contains('@') {
            return Err(DsnError::Credentials);
        }
        let mut this = Self { driver, settings: Vec::new(), cache: Vec::new() };
        let (separator, encoded, pairs) = match rest.strip_prefix("//") {
            None => (',', false, rest),
            Some(url) => {
                let (namespace, query) = url.split_once('?').unwrap_or((url, ""));
                if namespace.contains('@') {
                    return Err(DsnError::Credentials);
                }
                if !namespace.is_empty() {
                    this.settings.push(("namespace".into(), decoded(namespace)?));
                }
                ('&', true, query)
            }
        };
        for pair in pairs.split(separator).filter(|pair| !pair.is_empty()) {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => (key, value),
                _ => return Err(DsnError::NotAPair(pair.into())),
            };
            match (is_cache_key(key), encoded) {
                (true, _) => this.cache.push((key.into(), value.into())),
                (false, true) => this.settings.push((decoded(key)?, decoded(value)?)),
                (false, false) => this.settings.push((key.into(), value.into())),
            }
        }
        Ok(this)
    }
}

fn is_driver(name: &str) -> bool {
    DRIVERS.iter().any(|driver| driver.name == name)
}

fn decoded(text: &str) -> Result<String, DsnError> {
    percent_decoded(text).ok_or_else(|| DsnError::Encoding(text.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::native::{MountMode, NativeConfig};

    /// The settings of a driver, as they are shown to programmers.
    fn parse(dsn: &str) -> Result<String, String> {
        match dsn.parse::<Dsn>() {
            Ok(Dsn { driver, cache: None }) => Ok(format!("{driver:?}")),
            Ok(dsn) => Err(format!("{dsn:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn forms_and_keys() {
        let default = NativeConfig::default();
        assert_eq!(default.grace, Duration::from_secs(10));
        let namespace = NativeConfig { namespace: Some("team".into()), ..default.clone() };
        let table = [
            ("native", default.clone()),
            ("native:", default.clone()),
            ("native://", default.clone()),
            ("native://?", default.clone()),
            ("native://team", namespace.clone()),
            ("native:namespace=team", namespace.clone()),
            ("native://?namespace=team", namespace.clone()),
            (
                "native://team?env=A,B&env=C&grace=1s500ms&mounts=link&dir=/srv/a%20b%2Cc",
                NativeConfig {
                    env: vec!["A".into(), "B".into(), "C".into()],
                    grace: Duration::from_millis(1500),
                    mounts: MountMode::Link,
                    dir: Some("/srv/a b,c".into()),
                    ..namespace.clone()
                },
            ),
            (
                "native:namespace=team,env=A,env=B,mounts=bind,dir=/srv/a%20b",
                NativeConfig {
                    env: vec!["A".into(), "B".into()],
                    mounts: MountMode::Bind,
                    dir: Some("/srv/a%20b".into()),
                    ..namespace
                },
            ),
        ];
        for (dsn, expected) in table {
            assert_eq!(parse(dsn), Ok(format!("{expected:?}")), "{dsn}");
        }
    }

    #[test]
    fn mistakes_say_what_is_known() {
        // `echo` is there in tests alone.
        let table = [
            (
                "nativ",
                "unknown driver `nativ`, did you mean `native`?, expected `native`, `docker` or `echo`",
            ),
            ("", "unknown driver ``, expected `native`, `docker` or `echo`"),
            (
                "s3://key:secret@bucket",
                "expected a driver's name and a namespace, got credentials, write them into `cache=`",
            ),
            ("s3://bucket", "unknown driver `s3`, expected `native`, `docker` or `echo`"),
            (
                "k8s",
                "the `k8s` driver is not built into this version yet, use `native`, `docker` or `echo`",
            ),
            (
                "k8s://ns?a=b",
                "the `k8s` driver is not built into this version yet, use `native`, `docker` or `echo`",
            ),
            (
                "k8s:namespace=x",
                "the `k8s` driver is not built into this version yet, use `native`, `docker` or `echo`",
            ),
            (
                "native://?namespaec=x",
                "unknown key `namespaec` for the `native` driver, did you mean `namespace`?, \
                 expected `namespace`, `env`, `dir`, `grace`, `mounts` or `cache`",
            ),
            (
                "native://?cach=s3://bucket",
                "unknown key `cach` for the `native` driver, did you mean `cache`?, \
                 expected `namespace`, `env`, `dir`, `grace`, `mounts` or `cache`",
            ),
            (
                "native://?cache=s3://bucket&cache_colour=red",
                "unknown key `cache_colour` for the cache, expected `cache`, `region`, `endpoint`, \
                 `ttl`, `cache_compression`, `cache_prefix`, `cache_fallback`, `cache_policy`, \
                 `cache_when`, `cache_stall`, `cache_budget`, `cache_max_entries`, \
                 `cache_max_size`, `cache_max_ratio`, `cache_outside_links` or `cache_setuid`",
            ),
            (
                "native://?region=eu-west-1&cache=s3://bucket",
                "key `region` belongs to the cache, move it after `cache=`",
            ),
            (
                "native://key:secret@host/bucket",
                "expected a driver's name and a namespace, got credentials, write them into `cache=`",
            ),
            ("native://?grace", "expected `key=value` in the driver's settings, got `grace`"),
            ("native:=1", "expected `key=value` in the driver's settings, got `=1`"),
            (
                "native:grace=soon",
                "invalid value `soon` for key `grace`, \
                 expected a duration of at most a day such as `10s` or `500ms`",
            ),
            ("native:grace=1s,grace=2s", "key `grace` is given twice, keep one"),
            ("native://a?namespace=b", "key `namespace` is given twice, keep one"),
            (
                "native:mounts=copy",
                "invalid value `copy` for key `mounts`, expected `auto`, `bind` or `link`",
            ),
            ("native:dir=srv", "invalid value `srv` for key `dir`, expected an absolute directory"),
            (
                "native://?env=A,,B",
                "invalid value `A,,B` for key `env`, expected names of environment variables",
            ),
            (
                "native://../x",
                "invalid value `../x` for key `namespace`, expected 1 to 64 letters, digits, `.`, \
                 `_` or `-`, the first a letter or a digit",
            ),
            (
                "native://?dir=/100%",
                "`/100%` is not valid percent-encoding, write a literal `%` as `%25`",
            ),
            (
                "native://?dir=%ff",
                "`%ff` is not valid percent-encoding, write a literal `%` as `%25`",
            ),
        ];
        for (dsn, expected) in table {
            assert_eq!(parse(dsn), Err(expected.into()), "{dsn}");
        }
    }
}
