//! Tasks: what runs, and with what.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::{Json, JsonMap};
use crate::spelling::{Bound, Count, Flag, Memory, Scalar, Time};

/// Runs a command.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Task {
    /// The task's name.
    pub task: String,
    /// What to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<TaskConfig>,
    /// A file with the config: an artifact's name and the path in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The same as `file`, written as `file://artifact/task.yml`.
    #[serde(skip_serializing)]
    pub uri: Option<String>,
    /// The artifact that holds the image, instead of the config's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment variables, on top of the config's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Option<BTreeMap<String, Scalar>>")]
    pub params: BTreeMap<String, String>,
    /// Values of the variables in `file`.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub vars: JsonMap,
    /// From names of inputs to names of artifacts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub input_mapping: BTreeMap<String, String>,
    /// From names of outputs to names of artifacts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub output_mapping: BTreeMap<String, String>,
    /// Whether the container gets the rights of its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub privileged: Option<bool>,
    /// Whether the task has no network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub hermetic: Option<bool>,
    /// Upper bounds, instead of the config's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_limits: Option<ContainerLimits>,
    /// How many copies run at the same time, as `name-1`, `name-2`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Count>")]
    pub parallelism: Option<u32>,
    /// What has to be true of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assert: Option<TaskAssert>,
}

/// What has to be true of a task.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TaskAssert {
    /// The exit code. The task fails all the same when it is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// What the standard output contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// What the standard error output contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

/// What a task runs, and with what.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TaskConfig {
    /// The system that the task needs: `linux`. A task for another one is refused when it is reached.
    #[serde(skip_serializing)]
    pub platform: Option<String>,
    /// The image, if it is more than a name. Drivers without images ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_resource: Option<ImageResource>,
    /// The image in short, such as `busybox` or `node:20`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image as `docker:///name`. Other file systems are refused when the task is reached.
    #[serde(skip_serializing)]
    pub rootfs_uri: Option<String>,
    /// Artifacts that the task sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub inputs: Vec<Input>,
    /// Directories that become artifacts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub outputs: Vec<Output>,
    /// Directories that are kept from run to run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub caches: Vec<Cache>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Option<BTreeMap<String, Scalar>>")]
    pub params: BTreeMap<String, String>,
    /// The command; that of the image by default.
    #[schemars(default)]
    pub run: Run,
    /// Upper bounds on what the task may use, where the driver can enforce them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_limits: Option<ContainerLimits>,
}

/// An image as a resource.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ImageResource {
    /// How it is fetched, such as `registry-image`.
    #[serde(rename = "type")]
    #[schemars(default)]
    pub kind: String,
    /// Where it is, in the type's own terms; a `registry-image` has `repository` and `tag`.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub source: JsonMap,
    /// What the fetch takes.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub params: JsonMap,
    /// This version instead of the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Json>,
    /// Accepted and ignored.
    #[serde(skip_serializing)]
    pub name: Option<String>,
    /// Which workers fetch it. Ignored with a notice: there is one.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub tags: Vec<String>,
}

/// A command.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Run {
    /// A program: a path, or a name to look up in `PATH`. Without it, the image's own command runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its arguments, or what is added to the image's own command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Scalar>>")]
    pub args: Vec<String>,
    /// The directory to start in, relative to the working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The user who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// An artifact that a task sees.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Input {
    /// The artifact's name.
    pub name: String,
    /// Where the task sees it; its name by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether the task runs without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub optional: Option<bool>,
}

/// A directory that becomes an artifact.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Output {
    /// The artifact's name.
    pub name: String,
    /// Where the task writes it; its name by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The caches of a task.
#[derive(Debug, Serialize)]
pub struct TaskCaches {
    pub task: String,
    pub caches: Vec<Cache>,
}

/// A directory that is kept from run to run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cache {
    /// Relative to the working directory, or absolute.
    pub path: String,
    /// How long an unused cache is kept. Ignored with a notice.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Time>")]
    pub ttl: Option<u64>,
    /// Who shares it: all tasks that cache this path, or those of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<CacheScope>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheScope {
    /// All tasks that cache this path.
    Path,
    /// Tasks of the same name.
    Task,
}

/// Upper bounds on what a task may use.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ContainerLimits {
    /// Shares of a processor's time; 1024 are one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Bound>")]
    pub cpu: Option<u32>,
    /// In bytes, or with a unit such as `512MB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Memory>")]
    pub memory: Option<u64>,
}
