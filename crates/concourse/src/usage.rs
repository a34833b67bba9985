//! Which job uses which resource, and which group has which job.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::glob::Globs;
use crate::names::Names;
use crate::node::{Node, Value};
use crate::plan::{Action, Plan};
use crate::problem::{Problem, Problems};

/// The resources that the steps of jobs get and put.
pub struct Usage<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> Usage<'a> {
    pub fn of(plan: &'a Plan) -> Self {
        let mut all: HashMap<&str, HashSet<&str>> = HashMap::new();
        for job in &plan.jobs {
            let used = all.entry(&job.name).or_default();
            job.each_step(&mut |step| match &step.action {
                Action::Get(get) => _ = used.insert(get.resource.as_deref().unwrap_or(&get.get)),
                Action::Put(put) => _ = used.insert(put.resource.as_deref().unwrap_or(&put.put)),
                _ => {}
            });
        }
        Self(all)
    }

    /// Whether a job gets or puts a resource.
    pub fn has(&self, job: &str, resource: &str) -> bool {
        self.0.get(job).is_some_and(|used| used.contains(resource))
    }

    /// Warns of resources that no job uses.
    pub fn unused(&self, resources: &[Rc<Node>], problems: &mut Problems) {
        let used: HashSet<&str> = self.0.values().flatten().copied().collect();
        for name in resources.iter().filter_map(|resource| resource.get("name")) {
            let is_used = name.scalar().is_none_or(|text| used.contains(text.as_str()));
            if !is_used && !name.missing && !problems.is_full_of_warnings() {
                let message = format!("no step gets or puts the resource {}", name.quoted());
                problems.warn(Problem::new(name.mark, message).help("remove it, or use it"));
            }
        }
    }
}

/// Checks what groups name, and warns of jobs that are in none.
pub fn groups(
    groups: &[Rc<Node>],
    all: &[Rc<Node>],
    jobs: &Names<'_>,
    resources: &Names<'_>,
    problems: &mut Problems,
) {
    let mut grouped: HashSet<&str> = HashSet::new();
    for group in groups {
        for name in list(group.get("jobs")) {
            grouped.extend(jobs.matching(name, Globs::Groups, problems));
        }
        for name in list(group.get("resources")) {
            resources.need(name, problems);
        }
    }
    for name in all.iter().filter_map(|job| job.get("name")).filter(|_| !groups.is_empty()) {
        let text = name.scalar().unwrap_or_default();
        if !grouped.contains(text.as_str()) && !name.missing && !problems.is_full_of_warnings() {
            let message = format!("the job {} is in no group", name.quoted());
            problems.warn(Problem::new(name.mark, message).help("add it to one of the `groups`"));
        }
    }
}

fn list(node: Option<&Rc<Node>>) -> &[Rc<Node>] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}
