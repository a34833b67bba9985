//! What says of each container, volume and network whose it is.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::DockerConfig;
use crate::driver::RunIdentity;

pub const RUN: &str = "ci.run";
pub const NAMESPACE: &str = "ci.namespace";
const PIPELINE: &str = "ci.pipeline";
/// By the clock of the machine that runs `ci`.
const CREATED: &str = "ci.created";
/// What an image that a run has made is for.
pub const IMAGE: &str = "ci.image";
/// A copy of a task's container, for a shell.
pub const SHELL_IMAGE: &str = "shell";
/// The task's or volume's name.
pub const NAME: &str = "ci.name";

/// A volume that the engine has made since the run's own was gone.
pub const SUBSTITUTE: &str = "ci.substitute";

pub type Labels = HashMap<String, String>;

/// The labels of all that a run makes.
pub fn of_run(config: &DockerConfig, identity: &RunIdentity) -> Labels {
    [
        (RUN, identity.run.clone()),
        (NAMESPACE, config.namespace().to_owned()),
        (PIPELINE, identity.pipeline.clone()),
        (CREATED, humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The name of a run's network.
pub fn network_name(run: &str) -> String {
    format!("ci-{run}")
}

/// The name of a container or volume of a run, with which all of them begin.
pub fn object_name(run: &str, rest: &str) -> String {
    format!("ci-{run}-{rest}")
}

/// Whether a container's name, as the engine lists it, is one that a run has given.
pub fn is_of_run(name: &str, run: &str) -> bool {
    name.trim_start_matches('/').starts_with(&object_name(run, ""))
}

/// Seconds since 1970 by this machine's clock.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A filter for what has this label, with this value if there is one.
pub fn filter(label: &str, value: Option<&str>) -> HashMap<String, Vec<String>> {
    let text = match value {
        Some(value) => format!("{label}={value}"),
        None => label.to_owned(),
    };
    HashMap::from([("label".to_owned(), vec![text])])
}
