//! What a task runs.

use std::collections::HashSet;
use std::rc::Rc;

use super::Refusal;
use super::image::{Image, image_resource, rootfs};
use super::units::{bytes, shares, ttl};
use crate::fields::{Fields, warn_of_scalar, wrong};
use crate::node::{Node, Value};
use crate::plan::{Cache, CacheScope, ContainerLimits, Input, Output, Run, TaskConfig};
use crate::problem::{Problem, Problems};

pub fn task_config(
    node: &Node,
    refusal: &mut Refusal,
    problems: &mut Problems,
) -> Option<TaskConfig> {
    let mut fields = Fields::new(node, "a task's `config`", problems)?;
    let platform = fields.text("platform", problems);
    match (&platform, fields.get("platform")) {
        (Some(platform), Some(node)) if platform != "linux" && !node.is_open() => {
            let platform = node.quoted();
            let reason =
                format!("tasks of the platform {platform} cannot be run: only `linux` can");
            refusal.say(node.mark, reason, problems);
        }
        (None, None) if !problems.is_full_of_warnings() => {
            let problem = Problem::new(node.mark, "a task's `config` has no `platform`");
            problems.warn(problem.help("add `platform: linux`, which Concourse needs"));
        }
        _ => {}
    }
    let resource = fields.get("image_resource").and_then(|node| image_resource(node, problems));
    let short = fields.text("image", problems);
    if resource.is_some() && short.is_some() {
        let message = "a task has an `image` and an `image_resource`";
        problems.add(Problem::new(node.mark, message).help("remove one of the two"));
    }
    let rootfs_uri = fields.text("rootfs_uri", problems);
    let (image, image_resource) = match resource {
        Some(Image::Name(name)) => (Some(name), None),
        Some(Image::Resource(resource)) => (None, Some(resource)),
        None if short.is_some() => (short, None),
        None => (fields.get("rootfs_uri").and_then(|node| rootfs(node, refusal, problems)), None),
    };
    let config = TaskConfig {
        platform,
        image_resource,
        image,
        rootfs_uri,
        inputs: fields.list("inputs", problems, input),
        outputs: fields.list("outputs", problems, output),
        caches: fields.list("caches", problems, cache),
        params: fields.scalars("params", problems),
        run: fields.get("run").and_then(|node| run(node, problems)).unwrap_or_default(),
        container_limits: fields
            .get("container_limits")
            .and_then(|node| container_limits(node, problems)),
    };
    for list in ["inputs", "outputs", "caches"] {
        own_paths(list, fields.get(list), refusal, problems);
    }
    fields.finish(problems);
    Some(config)
}

/// Each entry of a list is mounted at a path of its own, below the working directory or anywhere in the image.
fn own_paths(list: &str, node: Option<&Rc<Node>>, refusal: &mut Refusal, problems: &mut Problems) {
    let Some(Value::List(entries)) = node.map(|node| &node.value) else { return };
    let mut seen: HashSet<String> = HashSet::new();
    for entry in entries {
        let path = entry.get("path").filter(|node| !matches!(node.value, Value::Null));
        let Some(node) = path.or_else(|| entry.get("name")) else { continue };
        let Some(path) = node.scalar().filter(|_| !node.is_open()) else { continue };
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            let path = node.quoted();
            let reason = format!("the path {path} leads out of the working directory");
            refusal.say(node.mark, reason, problems);
        }
        let root = if path.starts_with('/') { "/" } else { "" };
        if !seen.insert(format!("{root}{}", parts.join("/"))) && !problems.is_full_of_warnings() {
            let message = format!("`{list}` has the path {} twice", node.quoted());
            problems.warn(Problem::new(node.mark, message).help("the last one counts"));
        }
    }
}

fn input(node: &Rc<Node>, problems: &mut Problems) -> Option<Input> {
    let mut fields = Fields::new(node, "an input", problems)?;
    let input = Input {
        name: fields.required_text("name", problems),
        path: fields.text("path", problems).filter(|path| !path.is_empty()),
        optional: fields.flag("optional", problems),
    };
    fields.finish_loosely(problems);
    Some(input)
}

fn output(node: &Rc<Node>, problems: &mut Problems) -> Option<Output> {
    let mut fields = Fields::new(node, "an output", problems)?;
    let output = Output {
        name: fields.required_text("name", problems),
        path: fields.text("path", problems).filter(|path| !path.is_empty()),
    };
    fields.finish_loosely(problems);
    Some(output)
}

fn cache(node: &Rc<Node>, problems: &mut Problems) -> Option<Cache> {
    let mut fields = Fields::new(node, "a cache", problems)?;
    let path = fields.text("path", problems).filter(|path| !path.is_empty());
    let lifetime = fields.get("ttl").and_then(|node| ttl(node, problems));
    if lifetime.is_some() {
        problems
            .notice("`ttl` of a cache is ignored: `ci cache prune` removes what nobody has used");
    }
    let scope =
        fields.word("scope", &[("path", CacheScope::Path), ("task", CacheScope::Task)], problems);
    fields.finish_loosely(problems);
    if path.is_none() {
        let problem = Problem::new(node.mark, "a cache has no `path`");
        problems.warn(problem.help("add `path:`: without it nothing is kept"));
    }
    Some(Cache { path: path?, ttl: lifetime, scope })
}

fn run(node: &Node, problems: &mut Problems) -> Option<Run> {
    let mut fields = Fields::new(node, "`run`", problems)?;
    let run = Run {
        path: fields.text("path", problems).filter(|path| !path.is_empty()),
        args: fields.list("args", problems, |node, problems| {
            warn_of_scalar(node, problems);
            node.scalar().or_else(|| wrong(node, "text", problems))
        }),
        dir: fields.text("dir", problems).filter(|dir| !dir.is_empty()),
        user: fields.text("user", problems).filter(|user| !user.is_empty()),
    };
    fields.finish_loosely(problems);
    Some(run)
}

pub fn container_limits(node: &Node, problems: &mut Problems) -> Option<ContainerLimits> {
    let mut fields = Fields::new(node, "`container_limits`", problems)?;
    let limits = ContainerLimits {
        cpu: fields.get("cpu").and_then(|node| shares(node, problems)),
        memory: fields.get("memory").and_then(|node| bytes(node, problems)),
    };
    fields.finish_loosely(problems);
    Some(limits)
}
