//! What says of each container, volume, network and image whose it is.
//!
//! Labels alone are no proof: `docker commit`, `docker build` and Compose copy them to objects of users. So
//! an object belongs to a run only if it has [all labels](is_marked) and the name that the run gave it.

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
/// The comment of such a copy. What is made from an image has its labels, but a comment of its own.
pub const COPY: &str = "ci: a copy of a task's container, for a shell";
/// The task's or volume's name.
pub const NAME: &str = "ci.name";

/// For how many seconds a lease of the run lasts.
pub const LEASE: &str = "ci.lease";

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
        (LEASE, config.patience.as_secs().to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Those labels of an object that everything of its run has.
pub fn of_same_run(labels: &Labels) -> Labels {
    let common = [RUN, NAMESPACE, PIPELINE, CREATED, LEASE];
    let kept = labels.iter().filter(|(label, _)| common.contains(&label.as_str()));
    kept.map(|(label, value)| (label.clone(), value.clone())).collect()
}

/// The name of a run's network.
pub fn network_name(run: &str) -> String {
    format!("ci-{run}")
}

/// The name of a container or volume of a run, with which all of them begin.
pub fn object_name(run: &str, rest: &str) -> String {
    format!("ci-{run}-{rest}")
}

/// Whether this is the name of a container or volume of a run, with or without the slash that the engine
/// puts before it.
pub fn is_of_run(name: &str, run: &str) -> bool {
    name.trim_start_matches('/').starts_with(&object_name(run, ""))
}

/// Whether an object has the labels of all that a run makes.
pub fn is_marked(labels: &Labels) -> bool {
    [RUN, NAMESPACE, PIPELINE, CREATED].iter().all(|label| labels.contains_key(*label))
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
