//! What a pipeline has beside its jobs.

use std::rc::Rc;

use super::ignored_tags;
use crate::fields::{Fields, wrong};
use crate::json::{Json, JsonMap};
use crate::node::{Node, Value};
use crate::plan::{Display, Group, Prototype, Resource, ResourceType};
use crate::problem::Problems;

pub fn resource(node: &Rc<Node>, problems: &mut Problems) -> Option<Resource> {
    let mut fields = Fields::new(node, "a resource", problems)?;
    let resource = Resource {
        name: fields.required_text("name", problems),
        r#type: fields.required_text("type", problems),
        source: fields.object("source", problems),
        version: fields.get("version").and_then(|node| version(node, problems)),
        check_every: fields.text("check_every", problems),
        check_timeout: fields.text("check_timeout", problems),
        old_name: fields.text("old_name", problems),
        icon: fields.text("icon", problems),
        public: fields.flag("public", problems),
        webhook_token: fields.text("webhook_token", problems),
        expose_build_created_by: fields.flag("expose_build_created_by", problems),
        tags: ignored_tags(&mut fields, problems),
    };
    fields.finish(problems);
    Some(resource)
}

pub fn resource_type(node: &Rc<Node>, problems: &mut Problems) -> Option<ResourceType> {
    let mut fields = Fields::new(node, "a resource type", problems)?;
    let resource_type = ResourceType {
        name: fields.required_text("name", problems),
        r#type: fields.required_text("type", problems),
        source: fields.object("source", problems),
        params: fields.object("params", problems),
        privileged: fields.flag("privileged", problems),
        defaults: fields.object("defaults", problems),
        check_every: fields.text("check_every", problems),
        tags: ignored_tags(&mut fields, problems),
    };
    fields.finish(problems);
    Some(resource_type)
}

pub fn prototype(node: &Rc<Node>, problems: &mut Problems) -> Option<Prototype> {
    let mut fields = Fields::new(node, "a prototype", problems)?;
    let prototype = Prototype {
        name: fields.required_text("name", problems),
        r#type: fields.required_text("type", problems),
        source: fields.object("source", problems),
        params: fields.object("params", problems),
        privileged: fields.flag("privileged", problems),
        defaults: fields.object("defaults", problems),
        check_every: fields.text("check_every", problems),
        tags: ignored_tags(&mut fields, problems),
    };
    fields.finish(problems);
    Some(prototype)
}

pub fn group(node: &Rc<Node>, problems: &mut Problems) -> Option<Group> {
    let mut fields = Fields::new(node, "a group", problems)?;
    let group = Group {
        name: fields.required_text("name", problems),
        jobs: fields.texts("jobs", problems),
        resources: fields.texts("resources", problems),
    };
    fields.finish(problems);
    Some(group)
}

pub fn display(node: &Node, problems: &mut Problems) -> Option<Display> {
    let mut fields = Fields::new(node, "`display`", problems)?;
    let display = Display {
        background_image: fields.text("background_image", problems),
        background_filter: fields.text("background_filter", problems),
    };
    fields.finish(problems);
    problems.notice("`display` is ignored: there is no web page");
    Some(display)
}

/// A version. Its values are text, so that a number is what it looks like.
pub fn version(node: &Node, problems: &mut Problems) -> Option<Json> {
    let Value::Map(entries) = &node.value else {
        return wrong(node, "a version as a mapping", problems);
    };
    let fields = entries.iter().map(|entry| {
        let value = entry.value.scalar().map_or_else(|| entry.value.to_json(), Json::Text);
        (entry.key.clone(), value)
    });
    Some(Json::Map(JsonMap(fields.collect())))
}
