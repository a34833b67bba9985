//! Files of other programs, which people have at hand when they try this one.

use crate::node::{Node, Value};

/// What a document is, with its article, if it is written for another program.
pub fn kind(root: &Node) -> Option<&'static str> {
    let has = |name: &str| root.get(name).is_some();
    let is_map = |name: &str| matches!(root.get(name).map(|node| &node.value), Some(Value::Map(_)));
    let is_list =
        |name: &str| matches!(root.get(name).map(|node| &node.value), Some(Value::List(_)));
    // A list of jobs is what a pipeline of ours has, whatever else there is.
    if is_list("jobs") || !matches!(root.value, Value::Map(_)) {
        return None;
    }
    if is_map("jobs") && (has("on") || jobs_have(root, "runs-on") || jobs_have(root, "uses")) {
        return Some("a GitHub Actions workflow");
    }
    if root.get("runs").is_some_and(|runs| runs.get("using").is_some()) {
        return Some("a GitHub Action");
    }
    if is_map("jobs") && (has("workflows") || has("orbs") || jobs_have(root, "steps")) {
        return Some("a CircleCI config");
    }
    if has("apiVersion") && has("kind") {
        let text = root.get("apiVersion").and_then(|node| node.scalar()).unwrap_or_default();
        return Some(match text.starts_with("tekton.dev") {
            true => "a Tekton resource",
            false => "a Kubernetes resource",
        });
    }
    if is_map("services")
        && entries_have(field_of(root, "services"), &["image", "build", "extends"])
    {
        return Some("a Docker Compose file");
    }
    if has("pipelines") && is_map("pipelines") {
        return Some("a Bitbucket pipeline");
    }
    if has("kind") && (has("steps") || has("type")) {
        return Some("a Drone pipeline");
    }
    if (has("pool") || has("trigger") || has("pr"))
        && (has("steps") || has("stages") || is_map("variables"))
    {
        return Some("an Azure pipeline");
    }
    let gitlab = ["stages", "workflow", "default", "include", "before_script", "after_script"];
    if entries_have(Some(root), &["script", "trigger", "extends"])
        || (gitlab.iter().any(|name| has(name)) && !has("language"))
    {
        return Some("a GitLab CI file");
    }
    if has("language") && (has("script") || has("install") || has("jobs") || has("matrix")) {
        return Some("a Travis CI file");
    }
    if is_list("steps") {
        return Some(
            match entries_have(field_of(root, "steps"), &["command", "commands", "plugins"]) {
                true => "a Buildkite pipeline",
                false => "a list of steps without a job",
            },
        );
    }
    if is_map("tasks") && has("version") {
        return Some("a Taskfile");
    }
    if is_map("run") && (has("platform") || has("image_resource") || has("inputs")) {
        return Some("the config of a task");
    }
    None
}

fn field_of<'a>(root: &'a Node, name: &str) -> Option<&'a Node> {
    root.get(name).map(|node| &**node)
}

/// Whether a job of a mapping of jobs has a field.
fn jobs_have(root: &Node, field: &'static str) -> bool {
    entries_have(field_of(root, "jobs"), &[field])
}

/// Whether a value of a mapping, or of a list, has one of these fields.
fn entries_have(node: Option<&Node>, fields: &[&str]) -> bool {
    let Some(node) = node else { return false };
    let has_one = |node: &Node| fields.iter().any(|field| node.get(field).is_some());
    match &node.value {
        Value::Map(entries) => entries.iter().any(|entry| has_one(&entry.value)),
        Value::List(items) => items.iter().any(|item| has_one(item)),
        _ => false,
    }
}
