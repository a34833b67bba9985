//! What one part of a pipeline says about another: names, references, cycles.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::artifacts;
use super::fields::list_of;
use super::node::{Mark, Node, Value};
use super::plan::{Action, Job, Plan};
use super::problem::{Problem, Problems};
use super::suggest::did_you_mean;

/// Checks a decoded plan. The document is where places come from.
pub fn check(root: &Node, plan: &Plan, problems: &mut Problems) {
    for list in ["jobs", "resources", "resource_types", "groups"] {
        unique_names(root, list, problems);
    }
    let jobs: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    let resources: Vec<&str> = plan.resources.iter().map(|r| r.name.as_str()).collect();
    for entry in entries(root, "jobs") {
        references(entry, &jobs, &resources, problems);
        artifacts::check(entry, problems);
    }
    for group in entries(root, "groups") {
        for name in group.get("jobs").map_or(&[][..], |node| list(node)) {
            let text = name.scalar().unwrap_or_default();
            if !text.contains(['*', '?', '[']) {
                known(name, "job", &text, &jobs, problems);
            }
        }
    }
    cycles(root, plan, problems);
}

/// The jobs that a job waits for, in the order of its steps.
pub fn passed(job: &Job) -> Vec<&str> {
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    job.each_step(&mut |step| {
        if let Action::Get(get) = &step.action {
            names.extend(get.passed.iter().map(String::as_str));
        }
    });
    names.retain(|name| seen.insert(*name));
    names
}

fn entries<'a>(root: &'a Node, name: &str) -> &'a [Rc<Node>] {
    root.get(name).map_or(&[], |node| list(node))
}

fn list(node: &Node) -> &[Rc<Node>] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

fn unique_names(root: &Node, what: &str, problems: &mut Problems) {
    let mut first: HashMap<String, Mark> = HashMap::new();
    for entry in entries(root, what) {
        let Some(name) = entry.get("name") else { continue };
        let Some(text) = name.scalar() else { continue };
        if let Some(other) = first.get(&text) {
            let message = format!("duplicate name `{text}` in `{what}`");
            problems.add(
                Problem::new(name.mark, message)
                    .help(format!("the first one is in line {}", other.line)),
            );
        } else {
            first.insert(text, name.mark);
        }
    }
}

/// Checks `get`, `put` and `passed` wherever they are below a job.
fn references(node: &Node, jobs: &[&str], resources: &[&str], problems: &mut Problems) {
    match &node.value {
        Value::List(items) => {
            items.iter().for_each(|item| references(item, jobs, resources, problems));
        }
        Value::Map(entries) => {
            for kind in ["get", "put"] {
                let Some(step) = node.get(kind) else { continue };
                let named = node.get("resource").unwrap_or(step);
                if let Some(name) = named.scalar() {
                    known(named, "resource", &name, resources, problems);
                }
                for passed in node.get("passed").map_or(&[][..], |node| list(node)) {
                    let name = passed.scalar().unwrap_or_default();
                    known(passed, "job", &name, jobs, problems);
                }
            }
            for entry in entries {
                // Values that belong to somebody else may hold any words.
                if !matches!(
                    entry.key.as_str(),
                    "config" | "params" | "vars" | "get_params" | "version" | "assert" | "across"
                ) {
                    references(&entry.value, jobs, resources, problems);
                }
            }
        }
        _ => {}
    }
}

fn known(node: &Node, what: &str, name: &str, names: &[&str], problems: &mut Problems) {
    if names.contains(&name) {
        return;
    }
    let hint = did_you_mean(name, names.iter().copied());
    let help = match names {
        [] => format!("the pipeline has no {what}s: add it to `{what}s`"),
        _ if names.len() > 20 => format!("add it to `{what}s`"),
        _ => format!("the pipeline has {}", list_of(names)),
    };
    let message = match node.from_var {
        true => format!("unknown {what}, named by a variable"),
        false => format!("unknown {what} `{name}`{hint}"),
    };
    problems.add(Problem::new(node.mark, message).help(help));
}

/// Tells each circle of jobs that wait for each other once.
fn cycles(root: &Node, plan: &Plan, problems: &mut Problems) {
    let waits: HashMap<&str, Vec<&str>> =
        plan.jobs.iter().map(|job| (job.name.as_str(), passed(job))).collect();
    let mut done: HashSet<&str> = HashSet::new();
    for job in &plan.jobs {
        // The path from this job down to the one that is looked at, with what is left to visit.
        let mut path: Vec<(&str, std::slice::Iter<'_, &str>)> = Vec::new();
        if done.insert(&job.name) {
            path.push((&job.name, waits[job.name.as_str()].iter()));
        }
        while let Some((_, rest)) = path.last_mut() {
            let Some(next) = rest.next() else {
                path.pop();
                continue;
            };
            if let Some(start) = path.iter().position(|(name, _)| name == next) {
                let circle: Vec<&str> =
                    path[start..].iter().map(|(name, _)| *name).chain([*next]).collect();
                let mark = entries(root, "jobs")
                    .iter()
                    .find(|entry| {
                        entry.get("name").and_then(|n| n.scalar()).as_deref() == Some(next)
                    })
                    .map_or_else(Mark::default, |entry| entry.mark);
                let message = format!("jobs wait for each other: `{}`", circle.join("` → `"));
                problems.add(Problem::new(mark, message).help("remove one of the `passed`"));
            } else if done.insert(next)
                && let Some(waits) = waits.get(next)
            {
                path.push((next, waits.iter()));
            }
        }
    }
}
