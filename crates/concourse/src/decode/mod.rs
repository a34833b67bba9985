//! From a document to a plan. Every problem is told, and decoding goes on after each.

mod config;
mod image;
mod job;
mod kinds;
mod modifiers;
mod resource;
mod step;
mod task;
mod units;

use crate::fields::{Fields, list_of};
use crate::node::{Mark, Node, Value};
use crate::plan::{ExecutionAssert, Plan};
use crate::problem::{Problem, Problems};
use crate::suggest::did_you_mean;

/// The fields of a pipeline. Others are ignored, as in Concourse: they hold anchors.
pub const FIELDS: [&str; 10] = [
    "jobs",
    "resources",
    "resource_types",
    "groups",
    "var_sources",
    "prototypes",
    "display",
    "user_data",
    "max_in_flight",
    "assert",
];

pub fn decode(root: &Node, problems: &mut Problems) -> Plan {
    let Some(mut fields) = Fields::new(root, "a pipeline", problems) else {
        return Plan::default();
    };
    fields.require("jobs", problems);
    let plan = Plan {
        jobs: fields.list("jobs", problems, job::job),
        resources: fields.list("resources", problems, resource::resource),
        resource_types: fields.list("resource_types", problems, resource::resource_type),
        groups: fields.list("groups", problems, resource::group),
        // They were read before the rest, since it has variables of them.
        var_sources: Vec::new(),
        prototypes: fields.list("prototypes", problems, resource::prototype),
        display: fields.get("display").and_then(|node| resource::display(node, problems)),
        user_data: fields.get("user_data").map(|node| node.to_json()),
        max_in_flight: fields.limit("max_in_flight", problems),
        assert: fields.get("assert").and_then(|node| execution(node, problems)),
        ..Plan::default()
    };
    fields.get("var_sources");
    fields.end();
    near_misses(root, problems);
    plan
}

/// Warns of fields that are almost known. The others hold anchors.
fn near_misses(root: &Node, problems: &mut Problems) {
    let Value::Map(entries) = &root.value else { return };
    for entry in entries.iter().filter(|entry| !FIELDS.contains(&entry.key.as_str())) {
        let hint = did_you_mean(&entry.key, FIELDS);
        if !hint.is_empty() && !problems.is_full_of_warnings() {
            let message = format!("the field `{}` is ignored{hint}", entry.key);
            let help = format!("a pipeline has {}", list_of(&FIELDS));
            problems.warn(Problem::new(entry.mark, message).help(help));
        }
    }
}

/// What keeps a step from being run. It is told when the step is reached, since a run need not get there.
#[derive(Debug, Default)]
pub struct Refusal(Option<String>);

impl Refusal {
    /// The first reason counts. A check tells all of them as warnings.
    fn say(&mut self, mark: Mark, reason: impl Into<String>, problems: &mut Problems) {
        let reason = reason.into();
        if !problems.is_full_of_warnings() {
            let help = "a run that reaches the step refuses it";
            problems.warn(Problem::new(mark, &*reason).help(help));
        }
        self.0.get_or_insert(reason);
    }
}

fn ignored_tags(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<String> {
    let tags = fields.texts("tags", problems);
    if !tags.is_empty() {
        problems.notice("`tags` are ignored: there is one worker");
    }
    tags
}

fn execution(node: &Node, problems: &mut Problems) -> Option<ExecutionAssert> {
    let mut fields = Fields::new(node, "the `assert` of a job or a pipeline", problems)?;
    fields.require("execution", problems);
    let execution = fields.texts("execution", problems);
    fields.finish(problems);
    Some(ExecutionAssert { execution })
}
