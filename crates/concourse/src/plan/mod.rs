//! A checked pipeline: what the file says, in one spelling.
//!
//! The fields are named as in the file, so that the JSON Schema for editors, what the interpreter in
//! `js/plan/` reads and what `ci transpile` prints all come from these types. Sources: the reference
//! at <https://concourse-ci.org/docs/>, and for the extensions docs/yaml.md.

mod resource;
mod step;
mod task;

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::{Json, JsonMap};
use crate::spelling::{Bound, Flag};
pub use resource::{Display, Group, Prototype, Resource, ResourceType, VarSource};
pub use step::{
    Across, Action, Do, Get, InParallel, LoadVar, Modifiers, Parallel, Put, RunMessage,
    SetPipeline, Step, Try, VarFormat,
};
pub use task::{
    Cache, CacheScope, ContainerLimits, ImageResource, Input, Output, Run, Task, TaskAssert,
    TaskCaches, TaskConfig,
};

/// A pipeline of jobs. Fields with other names are ignored: they hold anchors.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Plan {
    /// What the pipeline does. Jobs that do not depend on each other run at the same time.
    pub jobs: Vec<Job>,
    /// What `get` and `put` steps fetch and publish.
    #[schemars(default)]
    pub resources: Vec<Resource>,
    /// Types of resources beyond the built-in ones, each one an image.
    #[schemars(default)]
    pub resource_types: Vec<ResourceType>,
    /// How many jobs, and how many tasks, may run at the same time; 0 means all.
    #[schemars(with = "Option<Bound>")]
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
    /// Values of the command line, for the variables of tasks' files; only where a task has a file.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(skip)]
    pub vars: JsonMap,
    /// How jobs are arranged on a web page. Checked, and otherwise ignored.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub groups: Vec<Group>,
    /// Where `((source:name))` comes from.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub var_sources: Vec<VarSource>,
    /// What `run` steps send their messages to. Such a step is refused when it is reached.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub prototypes: Vec<Prototype>,
    /// How a web page shows the pipeline. Ignored with a notice.
    #[serde(skip_serializing)]
    pub display: Option<Display>,
    /// Anything. Ignored.
    #[serde(skip_serializing)]
    pub user_data: Option<Json>,
}

/// Steps that run one after the other.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Job {
    /// The job's name.
    pub name: String,
    /// What to do, in this order, until a step does not succeed.
    #[schemars(default)]
    pub plan: Vec<Step>,
    /// Whether only one build of the job runs at a time, as is always so here.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub serial: Option<bool>,
    /// Jobs that share one of these names do not run at the same time.
    #[schemars(default)]
    pub serial_groups: Vec<String>,
    /// How many tasks of the job may run at the same time; 0 means all.
    #[schemars(with = "Option<Bound>")]
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
    /// Accepted and ignored: the job that this one was, with the history of its builds.
    #[serde(skip_serializing)]
    pub old_name: Option<String>,
    /// Accepted and ignored: a run is started by hand, and ended by hand.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub interruptible: Option<bool>,
    /// Accepted and ignored: every run is started by hand.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub disable_manual_trigger: Option<bool>,
    /// Accepted and ignored: a run is started again by starting it again.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub disable_reruns: Option<bool>,
    /// Accepted and ignored: there is no history of builds.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Bound>")]
    pub build_logs_to_retain: Option<u32>,
    /// Which workers may run the job. Ignored with a notice: there is one.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub tags: Vec<String>,
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

    /// The same, to change them.
    pub fn each_step_mut(&mut self, visit: &mut impl FnMut(&mut Step)) {
        let hooks = [
            &mut self.ensure,
            &mut self.on_success,
            &mut self.on_failure,
            &mut self.on_error,
            &mut self.on_abort,
        ];
        for step in self.plan.iter_mut().chain(hooks.into_iter().flatten().map(AsMut::as_mut)) {
            step.each_mut(visit);
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
