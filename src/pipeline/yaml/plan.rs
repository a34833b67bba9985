//! A checked pipeline: what the file says, in one spelling.
//!
//! The fields are named as in the file, so that the JSON Schema for editors, what the interpreter in
//! `js/plan/` reads and what `ci transpile` prints all come from these types. Sources: the reference
//! at <https://concourse-ci.org/docs/>, and for the extensions docs/yaml.md.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::schema::{
    Count, Flag, Image, Limit, ListOf, Memory, OneOrMore, ParallelSteps, Scalar, Time,
};

/// A pipeline of jobs.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Plan {
    /// What the pipeline does. Jobs that do not depend on each other run at the same time.
    pub jobs: Vec<Job>,
    /// What `get` and `put` steps fetch and publish.
    #[schemars(default)]
    pub resources: Vec<Resource>,
    /// Types of resources beyond the built-in ones, each one an image.
    #[schemars(default)]
    pub resource_types: Vec<ResourceType>,
    /// How many jobs, and how many tasks, may run at the same time.
    #[schemars(with = "Option<Count>")]
    pub max_in_flight: Option<u32>,
    /// What has to be true of the run.
    pub assert: Option<ExecutionAssert>,
    /// How jobs are arranged on a web page. Checked, and otherwise ignored.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub groups: Vec<Group>,
    /// How a web page shows the pipeline. Ignored with a notice.
    #[serde(skip_serializing)]
    pub display: Option<Value>,
}

/// A named set of jobs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Names of jobs; `*` stands for any text.
    #[schemars(default)]
    pub jobs: Vec<String>,
}

/// Steps that run one after the other.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Job {
    /// The job's name.
    pub name: String,
    /// What to do, in this order, until a step does not succeed.
    pub plan: Vec<Step>,
    /// Whether only one build of the job runs at a time, as is always so here.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub serial: Option<bool>,
    /// Jobs that share one of these names do not run at the same time.
    #[schemars(default)]
    pub serial_groups: Vec<String>,
    /// How many tasks of the job may run at the same time.
    #[schemars(with = "Option<Count>")]
    pub max_in_flight: Option<u32>,
    /// Runs at the end, whatever happened.
    pub ensure: Option<Box<Step>>,
    /// Runs when the job succeeded.
    pub on_success: Option<Box<Step>>,
    /// Runs when a step failed.
    pub on_failure: Option<Box<Step>>,
    /// Runs when a step could not be run.
    pub on_error: Option<Box<Step>>,
    /// Runs when the job was ended early.
    pub on_abort: Option<Box<Step>>,
    /// What has to be true of the job. When it is, the job counts as successful.
    pub assert: Option<ExecutionAssert>,
    /// Accepted and ignored: there is no web page.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub public: Option<bool>,
    /// Accepted and ignored: there is no history of builds.
    #[serde(skip_serializing)]
    pub build_log_retention: Option<Value>,
}

/// What has to be true of a run or a job.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ExecutionAssert {
    /// Names in the order in which they started: jobs of a pipeline, tasks of a job.
    pub execution: Vec<String>,
}

/// Something outside of the pipeline that has versions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Resource {
    /// What steps call it.
    pub name: String,
    /// A built-in type (`git`, `time`, `mock`, `file`) or one of `resource_types`.
    pub r#type: String,
    /// Where it is, in the type's own terms.
    #[schemars(default)]
    pub source: serde_json::Map<String, Value>,
    /// Use this version instead of the newest one.
    pub version: Option<Value>,
    /// Accepted and ignored: versions are looked for when a run needs them.
    #[serde(skip_serializing)]
    pub check_every: Option<String>,
    /// Accepted and ignored: there is no web page.
    #[serde(skip_serializing)]
    pub icon: Option<String>,
}

/// A type of resources: an image with `/opt/resource/check`, `in` and `out`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ResourceType {
    /// What resources call it.
    pub name: String,
    /// How the image is fetched, such as `registry-image`.
    pub r#type: String,
    /// The image: `repository` and `tag`.
    #[schemars(default)]
    pub source: serde_json::Map<String, Value>,
    /// Whether its containers get the rights of their host.
    #[schemars(with = "Option<Flag>")]
    pub privileged: Option<bool>,
    /// Values that every resource of the type starts from.
    #[schemars(default)]
    pub defaults: serde_json::Map<String, Value>,
}

/// A step: what it does, and how.
#[derive(Debug, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    #[serde(flatten)]
    pub modifiers: Modifiers,
}

/// What a step does.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Action {
    Task(Box<Task>),
    Get(Get),
    Put(Put),
    Do(Do),
    InParallel(InParallel),
    Try(Try),
    LoadVar(LoadVar),
}

/// What any step may have.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Modifiers {
    /// Runs the step once for each combination of values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub across: Vec<Across>,
    /// Whether the first combination that does not succeed ends the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub fail_fast: Option<bool>,
    /// How often the step is tried until it succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Count>")]
    pub attempts: Option<u32>,
    /// How long the step may take, such as `1h30m`; one attempt, if it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub timeout: Option<u64>,
    /// Runs after the step, whatever happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensure: Option<Box<Step>>,
    /// Runs when the step succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Box<Step>>,
    /// Runs when the step failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Box<Step>>,
    /// Runs when the step could not be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<Box<Step>>,
    /// Runs when the step was ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_abort: Option<Box<Step>>,
    /// Which workers may run the step. Ignored with a notice: there is one.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub tags: Vec<String>,
}

/// A variable of an `across` step.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Across {
    /// The variable's name: `((.:name))` in the step, `$name` in its tasks.
    pub var: String,
    /// Its values, in this order; or a variable that holds the list.
    #[schemars(with = "ListOf<Value>")]
    pub values: Value,
    /// How many values are run at the same time, or `all`; one by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Limit>")]
    pub max_in_flight: Option<Value>,
}

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
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(default)]
    pub vars: serde_json::Map<String, Value>,
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
    /// The system that the task needs: `linux`.
    #[serde(skip_serializing)]
    pub platform: Option<String>,
    /// The image. Drivers without images ignore it.
    #[serde(rename = "image", skip_serializing_if = "Option::is_none")]
    #[schemars(rename = "image_resource", with = "Option<Image>")]
    pub image_resource: Option<String>,
    /// The image in short, such as `busybox` or `node:20`.
    #[serde(skip_serializing)]
    pub image: Option<String>,
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
    /// The command.
    pub run: Run,
    /// Upper bounds on what the task may use, where the driver can enforce them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_limits: Option<ContainerLimits>,
}

/// A command.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Run {
    /// A program: a path, or a name to look up in `PATH`.
    pub path: String,
    /// Its arguments.
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

/// A directory that is kept from run to run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cache {
    /// Relative to the working directory.
    pub path: String,
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
    #[schemars(with = "Option<Count>")]
    pub cpu: Option<u32>,
    /// In bytes, or with a unit such as `512MB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Memory>")]
    pub memory: Option<u64>,
}

/// Fetches a resource's version as an artifact.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Get {
    /// The artifact's name, and the resource's unless `resource` says another one.
    pub get: String,
    /// The resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What the resource's type takes.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(default)]
    pub params: serde_json::Map<String, Value>,
    /// `latest`, `every`, or a version as the resource's type has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Value>,
    /// Jobs that have to succeed before this one starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub passed: Vec<String>,
    /// Accepted and ignored: runs are started by hand.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub trigger: Option<bool>,
}

/// Publishes to a resource, then fetches what was published.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Put {
    /// The artifact's name, and the resource's unless `resource` says another one.
    pub put: String,
    /// The resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What the resource's type takes.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(default)]
    pub params: serde_json::Map<String, Value>,
    /// What the resource's type takes for the fetch afterwards.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(default)]
    pub get_params: serde_json::Map<String, Value>,
    /// Which artifacts it sees: `all`, `detect` or a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
    /// Whether the fetch afterwards is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub no_get: Option<bool>,
}

/// Runs steps one after the other.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Do {
    /// The steps.
    pub r#do: Vec<Step>,
}

/// Runs steps at the same time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InParallel {
    /// The steps, or an object with `steps`, `limit` and `fail_fast`.
    #[schemars(with = "ParallelSteps")]
    pub in_parallel: Parallel,
}

/// Steps that run at the same time.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Parallel {
    /// The steps.
    pub steps: Vec<Step>,
    /// How many of them run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Count>")]
    pub limit: Option<u32>,
    /// Whether the first step that does not succeed ends the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub fail_fast: Option<bool>,
}

/// Succeeds whatever its steps do. Its own hooks see what they did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Try {
    /// A step, or a list of steps.
    #[schemars(with = "OneOrMore<Step>")]
    pub r#try: Vec<Step>,
}

/// Reads a file into a variable, `((.:name))` from then on.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LoadVar {
    /// The variable's name.
    pub load_var: String,
    /// The file: an artifact's name and the path in it.
    pub file: String,
    /// How to read it; by its extension otherwise, and `trim` where that says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<VarFormat>,
    /// Accepted and ignored.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub reveal: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VarFormat {
    Json,
    Yaml,
    Yml,
    /// Text without white space around it.
    Trim,
    /// Text as it is.
    Raw,
}
