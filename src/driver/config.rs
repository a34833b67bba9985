//! Which driver runs the tasks, and how it is set up.

use std::time::Duration;

use super::docker::{DockerConfig, HOST, Pull};
use super::native::{MountMode, NativeConfig};
use crate::suggest::{did_you_mean, listed};

/// A driver and its settings, parsed and checked.
#[derive(Clone, Debug, PartialEq)]
pub enum DriverConfig {
    /// Processes of this machine.
    Native(NativeConfig),
    /// Containers of a Docker engine.
    Docker(DockerConfig),
}

/// The drivers that this binary has.
const BUILT_IN: &[&str] = &["native", "docker"];

/// Names that are spoken for but lead nowhere in this version.
const PLANNED: &[&str] = &["k8s"];

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
            "docker" => Ok(Self::Docker(docker(settings)?)),
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
            Self::Docker(_) => "docker",
        }
    }
}

/// The last one of each driver's, and all that start with it, are about volumes whatever the driver;
/// the DSN's parser takes them out.
const NATIVE_KEYS: &[&str] = &["namespace", "env", "dir", "grace", "mounts", "cache"];
const DOCKER_KEYS: &[&str] = &["namespace", "host", "pull", "grace", "network", "cache"];

fn native(settings: Vec<(String, String)>) -> Result<NativeConfig, DriverConfigError> {
    let mut config = NativeConfig::default();
    for Setting { key, value } in known("native", NATIVE_KEYS, &["env"], settings)? {
        match key {
            "namespace" => config.namespace = Some(namespace(key, value)?),
            "env" => {
                for name in value.split(',') {
                    if name.is_empty() || name.contains(['=', '\0']) {
                        return Err(invalid(key, &value, "names of environment variables"));
                    }
                    config.env.push(name.into());
                }
            }
            "dir" => {
                if !value.starts_with('/') || value.contains('\0') {
                    return Err(invalid(key, &value, "an absolute directory"));
                }
                config.dir = Some(value.into());
            }
            "grace" => config.grace = duration(key, &value)?,
            "mounts" => {
                config.mounts = match value.as_str() {
                    "auto" => MountMode::Auto,
                    "bind" => MountMode::Bind,
                    "link" => MountMode::Link,
                    _ => return Err(invalid(key, &value, "`auto`, `bind` or `link`")),
                };
            }
            _ => {}
        }
    }
    Ok(config)
}

fn docker(settings: Vec<(String, String)>) -> Result<DockerConfig, DriverConfigError> {
    let mut config = DockerConfig::default();
    for Setting { key, value } in known("docker", DOCKER_KEYS, &[], settings)? {
        match key {
            "namespace" => config.namespace = Some(namespace(key, value)?),
            "host" => {
                config.host = Some(value.parse().map_err(|()| invalid(key, &value, HOST))?);
            }
            "pull" => {
                config.pull = match value.as_str() {
                    "missing" => Pull::Missing,
                    "always" => Pull::Always,
                    "never" => Pull::Never,
                    _ => return Err(invalid(key, &value, "`missing`, `always` or `never`")),
                };
            }
            "grace" => config.grace = duration(key, &value)?,
            "network" => {
                if value.is_empty() || value.contains(char::is_whitespace) {
                    return Err(invalid(key, &value, "the name of a network"));
                }
                config.network = Some(value);
            }
            _ => {}
        }
    }
    Ok(config)
}

/// A key that the driver has, and its decoded value.
struct Setting {
    key: &'static str,
    value: String,
}

/// Checks the keys. Only those in `lists` may be given more than once.
fn known(
    driver: &'static str,
    keys: &'static [&'static str],
    lists: &[&str],
    settings: Vec<(String, String)>,
) -> Result<Vec<Setting>, DriverConfigError> {
    let mut found: Vec<Setting> = Vec::with_capacity(settings.len());
    for (key, value) in settings {
        let Some(key) = keys.iter().copied().find(|known| *known == key) else {
            return Err(DriverConfigError::UnknownKey { driver, key, known: keys });
        };
        if found.iter().any(|setting| setting.key == key) && !lists.contains(&key) {
            return Err(DriverConfigError::Repeated { key });
        }
        found.push(Setting { key, value });
    }
    Ok(found)
}

fn invalid(key: &'static str, value: &str, expected: &str) -> DriverConfigError {
    DriverConfigError::Value { key, value: value.into(), expected: expected.into() }
}

fn duration(key: &'static str, text: &str) -> Result<Duration, DriverConfigError> {
    let expected = "a duration of at most a day such as `10s` or `500ms`";
    match crate::duration::parse(text) {
        Ok(value) if value <= Duration::from_secs(86_400) => Ok(value),
        Ok(_) => Err(invalid(key, text, expected)),
        Err(error) => Err(invalid(key, text, &format!("{expected}{}", error.hint()))),
    }
}

/// A namespace becomes a directory's or another engine's name, so only what all of them take.
fn namespace(key: &'static str, text: String) -> Result<String, DriverConfigError> {
    let fits = (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits {
        return Ok(text);
    }
    let expected = "1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit";
    Err(invalid(key, &text, expected))
}
