//! Steps: what they do, and what any of them may have.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::task::{ContainerLimits, Task};
use crate::json::{Json, JsonMap};
use crate::spelling::{Bound, Count, Flag, Limit, ListOf, OneOrMore, Time};

/// A step: what it does, and how.
#[derive(Debug, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    #[serde(flatten)]
    pub modifiers: Modifiers,
    /// Why the step cannot be run. It is an error of the step when it is reached, as often as it is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Step {
    /// Visits this step, and then those within and its hooks.
    pub fn each<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        let inner: &[Self] = match &self.action {
            Action::Do(steps) => &steps.r#do,
            Action::Try(steps) => &steps.r#try,
            Action::InParallel(steps) => &steps.in_parallel.steps,
            _ => &[],
        };
        let Modifiers { ensure, on_success, on_failure, on_error, on_abort, .. } = &self.modifiers;
        let hooks = [ensure, on_success, on_failure, on_error, on_abort];
        for step in inner.iter().chain(hooks.into_iter().flatten().map(AsRef::as_ref)) {
            step.each(visit);
        }
    }

    /// The same, to change them.
    pub fn each_mut(&mut self, visit: &mut impl FnMut(&mut Self)) {
        visit(self);
        let inner: &mut [Self] = match &mut self.action {
            Action::Do(steps) => &mut steps.r#do,
            Action::Try(steps) => &mut steps.r#try,
            Action::InParallel(steps) => &mut steps.in_parallel.steps,
            _ => &mut [],
        };
        let Modifiers { ensure, on_success, on_failure, on_error, on_abort, .. } =
            &mut self.modifiers;
        let hooks = [ensure, on_success, on_failure, on_error, on_abort];
        for step in inner.iter_mut().chain(hooks.into_iter().flatten().map(AsMut::as_mut)) {
            step.each_mut(visit);
        }
    }
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
    SetPipeline(SetPipeline),
    Run(RunMessage),
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
    #[schemars(with = "ListOf<Json>")]
    pub values: Json,
    /// How many values are run at the same time, or `all`; one by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Limit>")]
    pub max_in_flight: Option<Json>,
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
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub params: JsonMap,
    /// `latest`, `every`, or a version as the resource's type has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Json>,
    /// Jobs that have to succeed before this one starts, as globs: `*`, `?`, `[a-z]`.
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
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub params: JsonMap,
    /// What the resource's type takes for the fetch afterwards.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub get_params: JsonMap,
    /// Which artifacts it sees: `all`, `detect` or a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Json>,
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
    /// How many of them run at the same time; 0 means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Bound>")]
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

/// Checks a pipeline's file, as `ci check` does. Nothing keeps pipelines here.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SetPipeline {
    /// The pipeline's name, or `self`.
    pub set_pipeline: String,
    /// The file: an artifact's name and the path in it.
    pub file: String,
    /// Values of its variables.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub vars: JsonMap,
    /// Files with values of its variables; a later one wins over an earlier one, and `vars` over both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub var_files: Vec<String>,
    /// The team that gets the pipeline. There are no teams here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Values of its variables that are a part of its name too.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub instance_vars: JsonMap,
}

/// Sends a message to a prototype. Refused when the step is reached.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunMessage {
    /// The message.
    pub run: String,
    /// The prototype.
    pub r#type: String,
    /// What the prototype takes.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub params: JsonMap,
    /// Whether the container gets the rights of its host.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub privileged: Option<bool>,
    /// Upper bounds.
    #[serde(skip_serializing)]
    pub container_limits: Option<ContainerLimits>,
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

/// One alternative a kind of step, each with its own fields and those of any step.
impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let alternatives = [
            with_modifiers::<Task>(generator),
            with_modifiers::<Get>(generator),
            with_modifiers::<Put>(generator),
            with_modifiers::<Do>(generator),
            with_modifiers::<InParallel>(generator),
            with_modifiers::<Try>(generator),
            with_modifiers::<LoadVar>(generator),
            with_modifiers::<SetPipeline>(generator),
            with_modifiers::<RunMessage>(generator),
        ];
        json_schema!({ "anyOf": alternatives })
    }
}

fn with_modifiers<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut own = T::json_schema(generator).to_value();
    let any = Modifiers::json_schema(generator).to_value();
    let fields = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    let mut properties: Map<String, Value> = fields(&own);
    properties.extend(fields(&any));
    own["properties"] = properties.into();
    own["additionalProperties"] = false.into();
    own
}

/// Steps, or an object that holds them.
pub struct ParallelSteps;

impl JsonSchema for ParallelSteps {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ParallelSteps".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let steps = generator.subschema_for::<Vec<Step>>();
        let object = generator.subschema_for::<Parallel>();
        json_schema!({ "anyOf": [steps, object] })
    }
}
