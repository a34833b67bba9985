//! How a user may set up the driver.

use std::path::PathBuf;
use std::time::Duration;

use crate::driver::settings::{DriverConfigError, Setting, duration, invalid, namespace};

/// The settings of `native://…`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeConfig {
    /// Keeps the directories of runs apart that share everything else.
    pub namespace: Option<String>,
    /// Names of variables of this machine that tasks may see.
    pub env: Vec<String>,
    /// The absolute directory below which working directories and volumes are kept. `None` is the
    /// user's cache directory.
    pub dir: Option<PathBuf>,
    /// How long a task may take to end after SIGTERM, before SIGKILL.
    pub grace: Duration,
    pub mounts: MountMode,
    /// The program that becomes the supervisor when it is called with
    /// [`SUPERVISOR_ARG`](supervise::SUPERVISOR_ARG). `None` is the running program itself. A DSN
    /// cannot set it: it is for programs, such as tests, that embed the driver without being it.
    pub supervisor: Option<PathBuf>,
}

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            namespace: None,
            env: Vec::new(),
            dir: None,
            grace: Duration::from_secs(10),
            mounts: MountMode::Auto,
            supervisor: None,
        }
    }
}

/// How a volume becomes visible at a mount path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountMode {
    /// As `Bind` where the machine allows that, else as `Link`.
    Auto,
    /// A bind mount in a mount namespace of the task's own: a real directory for every tool.
    Bind,
    /// A symbolic link to the volume's directory.
    Link,
}

/// Checks the values of the driver's keys.
pub fn parse(settings: Vec<Setting>) -> Result<NativeConfig, DriverConfigError> {
    let mut config = NativeConfig::default();
    for Setting { key, value } in settings {
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
