//! What one part of a pipeline says about another: names, references, cycles.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::artifacts;
use crate::glob::Globs;
use crate::locals;
use crate::names::Names;
use crate::node::{Mark, Node, Value};
use crate::plan::{Action, Job, Plan};
use crate::problem::{Problem, Problems};
use crate::runs;
use crate::usage::{self, Usage};

/// Checks a decoded plan, and writes out the globs of `passed` in it. The document is where places come from, and
/// `inputs` are artifacts that the command line gives.
pub fn check(root: &Node, plan: &mut Plan, inputs: &[String], problems: &mut Problems) {
    for list in ["jobs", "resources", "groups", "var_sources"] {
        unique_names(root, &[list], problems);
    }
    unique_names(root, &["resource_types", "prototypes"], problems);
    passed_jobs(plan);
    let plan = &*plan;
    let job_names = plan.jobs.iter().map(|job| job.name.as_str());
    let jobs = Names::new("job", job_names, entries(root, "jobs"));
    let names = plan.resources.iter().map(|one| one.name.as_str());
    let resources = Names::new("resource", names, entries(root, "resources"));
    let names = plan.prototypes.iter().map(|one| one.name.as_str());
    let prototypes = Names::new("prototype", names, entries(root, "prototypes"));
    let usage = Usage::of(plan);
    let checked =
        References { jobs: &jobs, resources: &resources, prototypes, inputs, usage: &usage };
    for entry in entries(root, "jobs") {
        checked.check(entry, &mut HashSet::new(), problems);
        artifacts::check(entry, inputs, problems);
        locals::check(entry, problems);
        runs::check(entry, problems);
    }
    usage::groups(entries(root, "groups"), entries(root, "jobs"), &jobs, &resources, problems);
    usage.unused(entries(root, "resources"), problems);
    cycles(root, plan, &jobs, problems);
}

/// Replaces the globs of `passed` by the jobs that they match.
fn passed_jobs(plan: &mut Plan) {
    let names: Vec<String> = plan.jobs.iter().map(|job| job.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    for job in &mut plan.jobs {
        job.each_step_mut(&mut |step| {
            if let Action::Get(get) = &mut step.action
                && get.passed.iter().any(|name| !known.contains(name.as_str()))
            {
                let mut found = Vec::new();
                for name in &get.passed {
                    match known.contains(name.as_str()) {
                        true => found.push(name.clone()),
                        false => found.extend(
                            Globs::Passed.matching(name, &names).into_iter().map(str::to_owned),
                        ),
                    }
                }
                get.passed = found;
            }
        });
        job.passed = passed(job).into_iter().map(str::to_owned).collect();
    }
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

/// Lists that share their names.
fn unique_names(root: &Node, lists: &[&str], problems: &mut Problems) {
    let mut first: HashMap<String, Mark> = HashMap::new();
    for (list, entry) in
        lists.iter().flat_map(|list| entries(root, list).iter().map(move |entry| (list, entry)))
    {
        let Some(name) = entry.get("name").filter(|name| !name.missing) else { continue };
        let Some(text) = name.scalar() else { continue };
        if let Some(other) = first.get(&text) {
            let message = format!("duplicate name {} in `{list}`", name.quoted());
            problems.add(
                Problem::new(name.mark, message)
                    .help(format!("the first one is in line {}", other.line)),
            );
        } else {
            first.insert(text, name.mark);
        }
    }
}

/// What steps may refer to.
struct References<'a> {
    jobs: &'a Names<'a>,
    resources: &'a Names<'a>,
    prototypes: Names<'a>,
    inputs: &'a [String],
    usage: &'a Usage<'a>,
}

impl References<'_> {
    /// Checks `get`, `put`, `run` and `passed` wherever they are below a job. `gets` are names of `get` steps before.
    fn check(&self, node: &Node, gets: &mut HashSet<String>, problems: &mut Problems) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.check(item, gets, problems)),
            Value::Map(entries) => {
                self.step(node, gets, problems);
                for entry in entries {
                    // Values that belong to somebody else may hold any words.
                    let is_step = matches!(
                        entry.key.as_str(),
                        "plan" | "do" | "try" | "in_parallel" | "steps" | "ensure"
                    ) || entry.key.starts_with("on_");
                    if is_step {
                        self.check(&entry.value, gets, problems);
                    }
                }
            }
            _ => {}
        }
    }

    fn step(&self, node: &Node, gets: &mut HashSet<String>, problems: &mut Problems) {
        for kind in ["get", "put"] {
            let Some(step) = node.get(kind) else { continue };
            let text = step.scalar().unwrap_or_default();
            let other = node.get("resource").filter(|other| !matches!(other.value, Value::Null));
            let named = other.unwrap_or(step);
            let is_given = kind == "get" && self.inputs.contains(&text);
            if !is_given {
                self.resources.need(named, problems);
            }
            if kind == "get" {
                self.passed(node, named, problems);
                if !step.missing && !gets.insert(text) && !problems.is_full_of_warnings() {
                    let message = format!("the job has two steps that get {}", step.quoted());
                    let help = "give one of them another name, and say which `resource` it gets";
                    problems.warn(Problem::new(step.mark, message).help(help));
                }
            }
        }
        if node.get("run").is_some()
            && let Some(kind) = node.get("type")
        {
            self.prototypes.need(kind, problems);
        }
    }

    fn passed(&self, node: &Node, resource: &Node, problems: &mut Problems) {
        for passed in node.get("passed").map_or(&[][..], |node| list(node)) {
            for job in self.jobs.matching(passed, Globs::Passed, problems) {
                let name = resource.scalar().unwrap_or_default();
                let is_met = resource.is_open() || self.usage.has(job, &name);
                if !is_met && !problems.is_full_of_warnings() {
                    let job = self.jobs.shown(job);
                    let message =
                        format!("the job `{job}` neither gets nor puts {}", resource.quoted());
                    let help = "name a job that does: no version can have passed this one";
                    problems.warn(Problem::new(passed.mark, message).help(help));
                }
            }
        }
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
        if done.insert(&job.name)
            && let Some(waits) = waits.get(job.name.as_str())
        {
            path.push((&job.name, waits.iter()));
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
