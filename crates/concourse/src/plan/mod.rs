//! A checked pipeline: what the file says, in one spelling.
//!
//! The fields are named as in the file, so that the JSON Schema for editors, what the interpreter in
//! `js/plan/` reads and what `ci transpile` prints all come from these types. Sources: the reference
//! at <https://concourse-ci.org/docs/>, and for the extensions docs/yaml.md.

mod step;
mod task;

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::{Json, JsonMap};
use crate::spelling::{Count, Flag};
pub use step::{
    Across, Action, Do, Get, InParallel, LoadVar, Modifiers, Parallel, Put, Step, Try, VarFormat,
};
pub use task::{
    Cache, CacheScope, ContainerLimits, Input, Output, Run, Task, TaskAssert, TaskCaches,
    TaskConfig,
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
    /// Of tasks that were not selected: whether two paths meet in one name is not to depend on that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub other_caches: Vec<TaskCaches>,
    /// Artifacts that are directories of this machine, by `--input`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub inputs: Vec<String>,
    /// Artifacts that are written to this machine, by `--output`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub outputs: Vec<String>,
    /// How jobs are arranged on a web page. Checked, and otherwise ignored.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub groups: Vec<Group>,
    /// How a web page shows the pipeline. Ignored with a notice.
    #[serde(skip_serializing)]
    pub display: Option<Json>,
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
    pub build_log_retention: Option<Json>,
    /// The jobs that have to succeed before it, from its `get` steps.
    #[schemars(skip)]
    pub passed: Vec<String>,
}

impl Job {
    /// Visits all steps and hooks, each one before those within.
    pub fn each_step<'a>(&'a self, visit: &mut impl FnMut(&'a Step)) {
        let hooks =
            [&self.ensure, &self.on_success, &self.on_failure, &self.on_error, &self.on_abort];
        for step in self.plan.iter().chain(hooks.into_iter().flatten().map(AsRef::as_ref)) {
            step.each(visit);
        }
    }
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
    pub source: JsonMap,
    /// Use this version instead of the newest one.
    pub version: Option<Json>,
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
    pub source: JsonMap,
    /// Whether its containers get the rights of their host.
    #[schemars(with = "Option<Flag>")]
    pub privileged: Option<bool>,
    /// Values that every resource of the type starts from.
    #[schemars(default)]
    pub defaults: JsonMap,
}
