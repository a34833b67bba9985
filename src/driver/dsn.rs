//! Driver DSNs: which driver runs the tasks, and how, in one line of text.
//!
//! ```text
//! native
//! native://namespace?key=value&key=value
//! native:key=value,key=value
//! ```
//!
//! The query form decodes `%xx`; the comma form takes values as they are.

use std::str::FromStr;
use std::time::Duration;

use super::native::{MountMode, NativeConfig};

/// A driver and its settings, parsed and checked.
#[derive(Clone, Debug, PartialEq)]
pub enum DriverConfig {
    /// Processes of this machine.
    Native(NativeConfig),
}

/// The drivers that this binary has.
const BUILT_IN: &[&str] = &["native"];

/// Names that are spoken for but lead nowhere in this version.
const PLANNED: &[&str] = &["docker", "k8s"];

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum DsnError {
    #[error("unknown driver `{name}`{}, expected {}", did_you_mean(.name, BUILT_IN), listed(BUILT_IN))]
    UnknownDriver { name: String },
    #[error("the `{name}` driver is not built into this version yet, use {}", listed(BUILT_IN))]
    NotBuiltIn { name: String },
    #[error(
        "unknown key `{key}` for the `{driver}` driver{}, expected {}",
        did_you_mean(.key, .known),
        listed(.known)
    )]
    UnknownKey { driver: &'static str, key: String, known: &'static [&'static str] },
    #[error("key `{key}` is given twice, keep one")]
    Repeated { key: &'static str },
    #[error("invalid value `{value}` for key `{key}`, expected {expected}")]
    Value { key: &'static str, value: String, expected: String },
    #[error("expected `key=value` in the driver's settings, got `{0}`")]
    NotAPair(String),
    #[error("`{0}` is not valid percent-encoding, write a literal `%` as `%25`")]
    Encoding(String),
}

impl DriverConfig {
    /// The driver's name in a DSN.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native(_) => "native",
        }
    }
}

impl FromStr for DriverConfig {
    type Err = DsnError;

    fn from_str(dsn: &str) -> Result<Self, DsnError> {
        let (driver, rest) = dsn.split_once(':').unwrap_or((dsn, ""));
        match driver {
            "native" => Ok(Self::Native(native(settings(rest)?)?)),
            name if PLANNED.contains(&name) => Err(DsnError::NotBuiltIn { name: name.into() }),
            name => Err(DsnError::UnknownDriver { name: name.into() }),
        }
    }
}

/// What follows `driver:` as keys and values, in order. The part between `//` and `?` is the
/// `namespace`.
fn settings(rest: &str) -> Result<Vec<(String, String)>, DsnError> {
    let Some(url) = rest.strip_prefix("//") else {
        return rest
            .split(',')
            .filter(|pair| !pair.is_empty())
            .map(|pair| split_pair(pair).map(|(key, value)| (key.into(), value.into())))
            .collect();
    };
    let (namespace, query) = url.split_once('?').unwrap_or((url, ""));
    let namespace = decoded(namespace)?;
    let mut settings = Vec::new();
    if !namespace.is_empty() {
        settings.push(("namespace".into(), namespace));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = split_pair(pair)?;
        settings.push((decoded(key)?, decoded(value)?));
    }
    Ok(settings)
}

fn split_pair(pair: &str) -> Result<(&str, &str), DsnError> {
    match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(DsnError::NotAPair(pair.into())),
    }
}

fn decoded(text: &str) -> Result<String, DsnError> {
    let invalid = || DsnError::Encoding(text.into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(invalid()) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

const NATIVE_KEYS: &[&str] = &["namespace", "env", "dir", "grace", "mounts"];

fn native(settings: Vec<(String, String)>) -> Result<NativeConfig, DsnError> {
    let mut config = NativeConfig::default();
    let mut seen = Vec::new();
    for (key, value) in settings {
        let Some(key) = NATIVE_KEYS.iter().copied().find(|known| *known == key) else {
            return Err(DsnError::UnknownKey { driver: "native", key, known: NATIVE_KEYS });
        };
        if seen.contains(&key) && key != "env" {
            return Err(DsnError::Repeated { key });
        }
        seen.push(key);
        let invalid = |expected: &str| DsnError::Value {
            key,
            value: value.clone(),
            expected: expected.into(),
        };
        match key {
            "namespace" => {
                if !is_namespace(&value) {
                    return Err(invalid(
                        "1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit",
                    ));
                }
                config.namespace = Some(value);
            }
            "env" => {
                for name in value.split(',') {
                    if name.is_empty() || name.contains(['=', '\0']) {
                        return Err(invalid("names of environment variables"));
                    }
                    config.env.push(name.into());
                }
            }
            "dir" => {
                if !value.starts_with('/') || value.contains('\0') {
                    return Err(invalid("an absolute directory"));
                }
                config.dir = Some(value.into());
            }
            "grace" => config.grace = duration(&value).ok_or_else(|| invalid(DURATION))?,
            "mounts" => {
                config.mounts = match value.as_str() {
                    "auto" => MountMode::Auto,
                    "bind" => MountMode::Bind,
                    "link" => MountMode::Link,
                    _ => return Err(invalid("`auto`, `bind` or `link`")),
                };
            }
            _ => {}
        }
    }
    Ok(config)
}

const DURATION: &str = "a duration of at most a day such as `10s` or `500ms`";

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|value| *value <= Duration::from_secs(86_400))
}

/// A namespace becomes a directory's or another engine's name, so only what all of them take.
fn is_namespace(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn did_you_mean(name: &str, known: &[&str]) -> String {
    match similar::get_close_matches(name, known, 1, 0.7).first() {
        Some(close) => format!(", did you mean `{close}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(dsn: &str) -> Result<NativeConfig, String> {
        match dsn.parse() {
            Ok(DriverConfig::Native(config)) => Ok(config),
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
            assert_eq!(parse(dsn), Ok(expected), "{dsn}");
        }
    }

    #[test]
    fn mistakes_say_what_is_known() {
        let table = [
            ("nativ", "unknown driver `nativ`, did you mean `native`?, expected `native`"),
            ("", "unknown driver ``, expected `native`"),
            ("s3://key:secret@bucket", "unknown driver `s3`, expected `native`"),
            ("docker", "the `docker` driver is not built into this version yet, use `native`"),
            (
                "docker://ns?a=b",
                "the `docker` driver is not built into this version yet, use `native`",
            ),
            (
                "k8s:namespace=x",
                "the `k8s` driver is not built into this version yet, use `native`",
            ),
            (
                "native://?namespaec=x",
                "unknown key `namespaec` for the `native` driver, did you mean `namespace`?, \
                 expected `namespace`, `env`, `dir`, `grace` or `mounts`",
            ),
            (
                "native:cache=s3://bucket",
                "unknown key `cache` for the `native` driver, \
                 expected `namespace`, `env`, `dir`, `grace` or `mounts`",
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
