//! What a task runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::units::bytes;
use crate::fields::{Fields, text, wrong};
use crate::node::{Node, Value};
use crate::plan::{Cache, CacheScope, ContainerLimits, Input, Output, Run, TaskConfig};
use crate::problem::{Problem, Problems};

pub fn task_config(node: &Node, problems: &mut Problems) -> Option<TaskConfig> {
    let mut fields = Fields::new(node, "a task's `config`", problems)?;
    let platform = fields.text("platform", problems);
    if let (Some(platform), Some(node)) = (&platform, fields.get("platform"))
        && platform != "linux"
    {
        let message = format!("tasks of the platform {} cannot be run", node.quoted());
        problems.add(Problem::new(node.mark, message).help("write `platform: linux`"));
    }
    let resource = fields.get("image_resource").and_then(|node| image_resource(node, problems));
    let image = fields.text("image", problems);
    if resource.is_some() && image.is_some() {
        let message = "a task has an `image` and an `image_resource`";
        problems.add(Problem::new(node.mark, message).help("remove one of the two"));
    }
    let config = TaskConfig {
        platform,
        image_resource: resource.or_else(|| image.clone()),
        image,
        inputs: fields.list("inputs", problems, input),
        outputs: fields.list("outputs", problems, output),
        caches: fields.list("caches", problems, cache),
        params: fields.scalars("params", problems),
        run: match fields.require("run", problems) {
            Some(node) => run(node, problems).unwrap_or_default(),
            None => Run::default(),
        },
        container_limits: fields
            .get("container_limits")
            .and_then(|node| container_limits(node, problems)),
    };
    for list in ["inputs", "outputs", "caches"] {
        own_paths(fields.get(list), problems);
    }
    fields.finish(problems);
    Some(config)
}

/// Each entry of a list is mounted at a path of its own, below the working directory.
fn own_paths(list: Option<&Rc<Node>>, problems: &mut Problems) {
    let Some(Value::List(entries)) = list.map(|node| &node.value) else { return };
    let mut first: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        let Some(node) = entry.get("path").or_else(|| entry.get("name")) else { continue };
        let Some(path) = node.scalar() else { continue };
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            let message = format!("the path {} leads out of the working directory", node.quoted());
            problems.add(Problem::new(node.mark, message).help("write a path without `..`"));
        }
        let root = if path.starts_with('/') { "/" } else { "" };
        match first.entry(format!("{root}{}", parts.join("/"))) {
            Entry::Vacant(place) => _ = place.insert(node.mark.line),
            Entry::Occupied(line) => problems.add(
                Problem::new(node.mark, format!("the path {} is taken", node.quoted()))
                    .help(format!("the first one is in line {}: choose another path", line.get())),
            ),
        }
    }
}

/// `repository:tag`.
fn image_resource(node: &Node, problems: &mut Problems) -> Option<String> {
    let mut fields = Fields::new(node, "an `image_resource`", problems)?;
    for ignored in ["type", "params", "version", "name"] {
        fields.get(ignored);
    }
    let source = fields.require("source", problems);
    fields.finish(problems);
    let source = source?;
    let Value::Map(_) = &source.value else {
        return wrong(source, "a mapping with a `repository`", problems);
    };
    let Some(repository) = source.get("repository") else {
        let message = "an image's `source` has no `repository`";
        problems.add(Problem::new(source.mark, message).help("add `repository: …`"));
        return None;
    };
    let repository = text(repository, problems)?;
    let tag = source.get("tag").and_then(|node| node.scalar()).filter(|tag| !tag.is_empty());
    Some(tag.map_or_else(|| repository.clone(), |tag| format!("{repository}:{tag}")))
}

fn input(node: &Rc<Node>, problems: &mut Problems) -> Option<Input> {
    let mut fields = Fields::new(node, "an input", problems)?;
    let input = Input {
        name: fields.required_text("name", problems),
        path: fields.text("path", problems),
        optional: fields.flag("optional", problems),
    };
    fields.finish(problems);
    Some(input)
}

fn output(node: &Rc<Node>, problems: &mut Problems) -> Option<Output> {
    let mut fields = Fields::new(node, "an output", problems)?;
    let output = Output {
        name: fields.required_text("name", problems),
        path: fields.text("path", problems),
    };
    fields.finish(problems);
    Some(output)
}

fn cache(node: &Rc<Node>, problems: &mut Problems) -> Option<Cache> {
    let mut fields = Fields::new(node, "a cache", problems)?;
    let path = fields.required_text("path", problems);
    if path.starts_with('/') {
        let named = fields.get("path").map_or_else(|| "a cache".to_owned(), |node| node.quoted());
        let message = format!("the cache {named} is not below the working directory");
        problems.add(Problem::new(node.mark, message).help("write a relative path"));
    }
    let cache = Cache {
        path,
        scope: fields.word(
            "scope",
            &[("path", CacheScope::Path), ("task", CacheScope::Task)],
            problems,
        ),
    };
    fields.finish(problems);
    Some(cache)
}

fn run(node: &Node, problems: &mut Problems) -> Option<Run> {
    let mut fields = Fields::new(node, "`run`", problems)?;
    let run = Run {
        path: fields.required_text("path", problems),
        args: fields.list("args", problems, |node, problems| {
            node.scalar().or_else(|| wrong(node, "text", problems))
        }),
        dir: fields.text("dir", problems),
        user: fields.text("user", problems),
    };
    fields.finish(problems);
    Some(run)
}

pub fn container_limits(node: &Node, problems: &mut Problems) -> Option<ContainerLimits> {
    let mut fields = Fields::new(node, "`container_limits`", problems)?;
    let limits = ContainerLimits {
        cpu: fields.count("cpu", problems),
        memory: fields.get("memory").and_then(|node| bytes(node, problems)),
    };
    fields.finish(problems);
    Some(limits)
}
