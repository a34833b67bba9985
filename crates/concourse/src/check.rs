//! What one part of a pipeline says about another: names, references, cycles.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::artifacts;
use crate::fields::list_of;
use crate::locals;
use crate::node::{Mark, Node, Value};
use crate::plan::{Action, Job, Plan};
use crate::problem::{Problem, Problems};
use crate::runs;
use crate::suggest::did_you_mean;

/// Checks a decoded plan. The document is where places come from, and `inputs` are artifacts that the command
/// line gives.
pub fn check(root: &Node, plan: &Plan, inputs: &[String], problems: &mut Problems) {
    for list in ["jobs", "resources", "resource_types", "groups"] {
        unique_names(root, list, problems);
    }
    let jobs = Names::new("job", plan.jobs.iter().map(|job| job.name.as_str()), root);
    let resources =
        Names::new("resource", plan.resources.iter().map(|one| one.name.as_str()), root);
    for entry in entries(root, "jobs") {
        references(entry, &jobs, &resources, inputs, problems);
        artifacts::check(entry, inputs, problems);
        locals::check(entry, problems);
        runs::check(entry, problems);
    }
    for group in entries(root, "groups") {
        for name in group.get("jobs").map_or(&[][..], |node| list(node)) {
            let text = name.scalar().unwrap_or_default();
            if !text.contains(['*', '?', '[']) {
                jobs.need(name, problems);
            }
        }
    }
    cycles(root, plan, &jobs, problems);
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
            let message = format!("duplicate name {} in `{what}`", name.quoted());
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
fn references(
    node: &Node,
    jobs: &Names<'_>,
    resources: &Names<'_>,
    inputs: &[String],
    problems: &mut Problems,
) {
    match &node.value {
        Value::List(items) => {
            items.iter().for_each(|item| references(item, jobs, resources, inputs, problems));
        }
        Value::Map(entries) => {
            for kind in ["get", "put"] {
                let Some(step) = node.get(kind) else { continue };
                let named = node.get("resource").unwrap_or(step);
                let is_given =
                    kind == "get" && step.scalar().is_some_and(|it| inputs.contains(&it));
                if !is_given {
                    resources.need(named, problems);
                }
                for passed in node.get("passed").map_or(&[][..], |node| list(node)) {
                    jobs.need(passed, problems);
                }
            }
            for entry in entries {
                // Values that belong to somebody else may hold any words.
                if !matches!(
                    entry.key.as_str(),
                    "config" | "params" | "vars" | "get_params" | "version" | "assert" | "across"
                ) {
                    references(&entry.value, jobs, resources, inputs, problems);
                }
            }
        }
        _ => {}
    }
}

/// The names that something of the pipeline may refer to.
struct Names<'a> {
    what: &'static str,
    /// Those that messages may repeat: not from a variable.
    list: Vec<&'a str>,
    set: HashSet<&'a str>,
    from_var: HashSet<String>,
}

impl<'a> Names<'a> {
    fn new(what: &'static str, names: impl Iterator<Item = &'a str>, root: &Node) -> Self {
        let from_var: HashSet<String> = entries(root, &format!("{what}s"))
            .iter()
            .filter_map(|entry| entry.get("name").filter(|name| name.from_var)?.scalar())
            .collect();
        let all: Vec<&str> = names.collect();
        let set = all.iter().copied().collect();
        let list = all.into_iter().filter(|name| !from_var.contains(*name)).collect();
        Self { what, list, set, from_var }
    }

    /// A name as messages may show it.
    fn shown(&self, name: &'a str) -> &'a str {
        if self.from_var.contains(name) { "((…))" } else { name }
    }

    fn need(&self, node: &Node, problems: &mut Problems) {
        let Some(name) = node.scalar() else { return };
        if self.set.contains(name.as_str()) || problems.is_full() {
            return;
        }
        let what = self.what;
        let help = match self.list.as_slice() {
            [] => format!("the pipeline has no {what}s: add it to `{what}s`"),
            list if list.len() > 20 => format!("add it to `{what}s`"),
            list => format!("the pipeline has {}", list_of(list)),
        };
        let message = match node.from_var {
            true => format!("unknown {what}, named by a variable"),
            false => {
                let hint = did_you_mean(&name, self.list.iter().copied());
                format!("unknown {what} `{name}`{hint}")
            }
        };
        problems.add(Problem::new(node.mark, message).help(help));
    }
}

/// Tells each circle of jobs that wait for each other once.
fn cycles<'a>(root: &Node, plan: &'a Plan, names: &Names<'a>, problems: &mut Problems) {
    let waits: HashMap<&'a str, Vec<&'a str>> =
        plan.jobs.iter().map(|job| (job.name.as_str(), passed(job))).collect();
    let mut done: HashSet<&str> = HashSet::new();
    for job in &plan.jobs {
        // The path from this job down to the one that is looked at, with what is left to visit.
        let mut path: Vec<(&'a str, std::slice::Iter<'_, &'a str>)> = Vec::new();
        let mut on_path: HashSet<&str> = HashSet::new();
        if done.insert(&job.name) {
            path.push((&job.name, waits[job.name.as_str()].iter()));
            on_path.insert(&job.name);
        }
        while let Some((name, rest)) = path.last_mut() {
            let Some(next) = rest.next() else {
                on_path.remove(name);
                path.pop();
                continue;
            };
            if on_path.contains(next) {
                if !problems.is_full() {
                    problems.add(circle(root, path.iter().map(|(name, _)| *name), next, names));
                }
            } else if done.insert(next)
                && let Some(waits) = waits.get(next)
            {
                path.push((next, waits.iter()));
                on_path.insert(next);
            }
        }
    }
}

/// The end of the path waits for `start`, which is on it.
fn circle<'a>(
    root: &Node,
    path: impl Iterator<Item = &'a str>,
    start: &'a str,
    names: &Names<'a>,
) -> Problem {
    let circle: Vec<&str> = path
        .skip_while(|name| *name != start)
        .chain([start])
        .map(|name| names.shown(name))
        .collect();
    let mark = entries(root, "jobs")
        .iter()
        .find(|entry| entry.get("name").and_then(|name| name.scalar()).as_deref() == Some(start))
        .map_or_else(Mark::default, |entry| entry.mark);
    let message = format!("jobs wait for each other: `{}`", circle.join("` → `"));
    Problem::new(mark, message).help("remove one of the `passed`")
}
