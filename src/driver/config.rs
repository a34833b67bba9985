//! Which driver runs the tasks, and how it is set up.

use std::time::Duration;

use super::native::{MountMode, NativeConfig};
use crate::suggest::{did_you_mean, listed};

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
pub enum DriverConfigError {
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
}

impl DriverConfig {
    /// The driver of this name, set up with keys and their decoded values.
    pub fn new(driver: &str, settings: Vec<(String, String)>) -> Result<Self, DriverConfigError> {
        match driver {
            "native" => Ok(Self::Native(native(settings)?)),
            name if PLANNED.contains(&name) => {
                Err(DriverConfigError::NotBuiltIn { name: name.into() })
            }
            name => Err(DriverConfigError::UnknownDriver { name: name.into() }),
        }
    }

    /// The driver's name in a DSN.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native(_) => "native",
        }
    }
}

/// The last one, and all that start with it, are about volumes whatever the driver; the DSN's parser
/// takes them out.
const NATIVE_KEYS: &[&str] = &["namespace", "env", "dir", "grace", "mounts", "cache"];

fn native(settings: Vec<(String, String)>) -> Result<NativeConfig, DriverConfigError> {
    let mut config = NativeConfig::default();
    let mut seen = Vec::new();
    for (key, value) in settings {
        let Some(key) = NATIVE_KEYS.iter().copied().find(|known| *known == key) else {
            return Err(DriverConfigError::UnknownKey {
                driver: "native",
                key,
                known: NATIVE_KEYS,
            });
        };
        if seen.contains(&key) && key != "env" {
            return Err(DriverConfigError::Repeated { key });
        }
        seen.push(key);
        let invalid = |expected: &str| DriverConfigError::Value {
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
