//! From a document to a plan. Every problem is told, and decoding goes on after each.

mod config;
mod job;
mod step;
mod units;

use std::rc::Rc;

use super::fields::Fields;
use super::node::Node;
use super::plan::{ExecutionAssert, Group, Plan, Resource, ResourceType};
use super::problem::Problems;

/// A plan, and what the user should know about it.
#[derive(Default)]
pub struct Decoded {
    pub plan: Plan,
    pub notices: Vec<String>,
}

pub fn decode(root: &Node, problems: &mut Problems) -> Decoded {
    let mut decoded = Decoded::default();
    let Some(mut fields) = Fields::new(root, "a pipeline", problems) else { return decoded };
    fields.require("jobs", problems);
    let plan = &mut decoded.plan;
    let notices = &mut decoded.notices;
    plan.jobs = fields.list("jobs", problems, |node, problems| job::job(node, notices, problems));
    plan.resources = fields.list("resources", problems, resource);
    plan.resource_types = fields.list("resource_types", problems, resource_type);
    plan.groups = fields.list("groups", problems, group);
    plan.max_in_flight = fields.count("max_in_flight", problems);
    plan.assert = fields.get("assert").and_then(|node| execution(node, problems));
    if fields.get("display").is_some() {
        notice(notices, "`display` is ignored: there is no web page");
    }
    fields.finish(problems);
    decoded
}

fn notice(notices: &mut Vec<String>, text: &str) {
    if !notices.iter().any(|other| other == text) {
        notices.push(text.to_owned());
    }
}

fn execution(node: &Node, problems: &mut Problems) -> Option<ExecutionAssert> {
    let mut fields = Fields::new(node, "the `assert` of a job or a pipeline", problems)?;
    fields.require("execution", problems);
    let execution = fields.texts("execution", problems);
    fields.finish(problems);
    Some(ExecutionAssert { execution })
}

fn resource(node: &Rc<Node>, problems: &mut Problems) -> Option<Resource> {
    let mut fields = Fields::new(node, "a resource", problems)?;
    let resource = Resource {
        name: fields.required_text("name", problems),
        r#type: fields.required_text("type", problems),
        source: fields.object("source", problems),
        version: fields.get("version").map(|node| node.to_json()),
        check_every: fields.text("check_every", problems),
        icon: fields.text("icon", problems),
    };
    for ignored in ["check_timeout", "expose_build_created_by", "public", "tags", "webhook_token"] {
        fields.get(ignored);
    }
    fields.finish(problems);
    Some(resource)
}

fn resource_type(node: &Rc<Node>, problems: &mut Problems) -> Option<ResourceType> {
    let mut fields = Fields::new(node, "a resource type", problems)?;
    let resource_type = ResourceType {
        name: fields.required_text("name", problems),
        r#type: fields.required_text("type", problems),
        source: fields.object("source", problems),
        privileged: fields.flag("privileged", problems),
        defaults: fields.object("defaults", problems),
    };
    for ignored in ["check_every", "params", "tags"] {
        fields.get(ignored);
    }
    fields.finish(problems);
    Some(resource_type)
}

fn group(node: &Rc<Node>, problems: &mut Problems) -> Option<Group> {
    let mut fields = Fields::new(node, "a group", problems)?;
    let group = Group {
        name: fields.required_text("name", problems),
        jobs: fields.texts("jobs", problems),
    };
    fields.finish(problems);
    Some(group)
}
