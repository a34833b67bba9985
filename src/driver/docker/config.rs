//! How a user may set up the driver.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::destination::Destination;
use crate::driver::settings::{DriverConfigError, Setting, duration, invalid, namespace};

/// The settings of `docker://…`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerConfig {
    /// Runs of one namespace clear what killed runs of it left behind.
    pub namespace: Option<String>,
    /// `None` is what the `docker` command would use.
    pub host: Option<Host>,
    pub pull: Pull,
    /// How long the pull of an image may take.
    pub pull_timeout: Duration,
    /// How long a task may take to end after SIGTERM, before SIGKILL.
    pub grace: Duration,
    /// The network that tasks are connected to. `None` is one of the run's own.
    pub network: Option<String>,
    /// How long the engine may take to answer, and a run on another machine's engine counts as alive
    /// after its last sign of that. Whole seconds, at least one.
    pub patience: Duration,
}

/// How long the engine may take to answer, unless somebody says otherwise.
pub const PATIENCE: Duration = Duration::from_mins(2);

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            namespace: None,
            host: None,
            pull: Pull::Missing,
            pull_timeout: Duration::from_mins(15),
            grace: Duration::from_secs(10),
            network: None,
            patience: PATIENCE,
        }
    }
}

impl DockerConfig {
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}

/// Checks the values of the driver's keys.
pub fn parse(settings: Vec<Setting>) -> Result<DockerConfig, DriverConfigError> {
    let mut config = DockerConfig::default();
    for Setting { key, value } in settings {
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
            "pull_timeout" => config.pull_timeout = duration(key, &value)?,
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

/// The namespace of runs whose DSN names none.
const DEFAULT_NAMESPACE: &str = "default";

/// When images are pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// Those that the engine does not have.
    #[default]
    Missing,
    /// Each one once a run.
    Always,
    Never,
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    /// Host and port, with TLS if docker's variables or context ask for that.
    Tcp(String),
    /// Host and port, with TLS whatever else is set.
    Https(String),
    Ssh(Destination),
}

/// What a host has to look like.
pub const HOST: &str = "`unix:///path`, `tcp://host` or `ssh://host`";

impl FromStr for Host {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (scheme, rest) = text.split_once("://").ok_or(())?;
        if scheme == "ssh" {
            return text.parse().map(Self::Ssh);
        }
        let rest = rest.trim_end_matches('/');
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" if !rest.is_empty() && !rest.contains(['/', '@']) => {
                let has_port =
                    rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                // The ports that engines listen on, as `docker` has it.
                let address = |port: &str| match has_port {
                    true => rest.to_owned(),
                    false => format!("{rest}:{port}"),
                };
                Ok(match scheme {
                    "https" => Self::Https(address("2376")),
                    _ => Self::Tcp(address("2375")),
                })
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Https(address) => write!(f, "https://{address}"),
            Self::Ssh(destination) => destination.fmt(f),
        }
    }
}
