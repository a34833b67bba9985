//! The part of a document that one job needs: what is wrong with other jobs does not keep it from running.

use std::rc::Rc;

use crate::glob::Globs;
use crate::node::{Node, Value};

/// The document with no other jobs than this one and those that it waits for. `None` if it has no such job.
/// `replaced` is the document with its variables replaced.
pub fn only(root: &Node, replaced: &Node, job: &str) -> Option<Rc<Node>> {
    let jobs = jobs(replaced)?;
    let name_of = |node: &Rc<Node>| node.get("name").and_then(|name| name.scalar());
    let names: Vec<String> = jobs.iter().map(|node| name_of(node).unwrap_or_default()).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = all.iter().position(|name| *name == job)?;
    let mut is_kept = vec![false; jobs.len()];
    let mut open = vec![first];
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut is_kept[at], true) {
            continue;
        }
        let mut passed = Vec::new();
        collect(&jobs[at], &mut passed);
        for glob in passed {
            let found = Globs::Passed.matching(&glob, &all);
            open.extend((0..all.len()).filter(|at| found.contains(&all[*at])));
        }
    }
    let mut part = root.clone();
    let Value::Map(entries) = &mut part.value else { return None };
    let list = entries.iter_mut().find(|entry| entry.key == "jobs")?;
    let Value::List(items) = &list.value.value else { return None };
    let kept = items.iter().zip(is_kept).filter(|(_, is_kept)| *is_kept);
    let kept = Value::List(kept.map(|(item, _)| item.clone()).collect());
    list.value = Rc::new(Node { value: kept, ..(*list.value).clone() });
    Some(Rc::new(part))
}

fn jobs(root: &Node) -> Option<&[Rc<Node>]> {
    match &root.get("jobs")?.value {
        Value::List(jobs) => Some(jobs),
        _ => None,
    }
}

/// The names that any `passed` within a job has.
fn collect(node: &Node, passed: &mut Vec<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| collect(item, passed)),
        Value::Map(entries) => {
            for entry in entries {
                match &entry.value.value {
                    Value::List(names) if entry.key == "passed" => {
                        passed.extend(names.iter().filter_map(|name| name.scalar()));
                    }
                    _ => collect(&entry.value, passed),
                }
            }
        }
        _ => {}
    }
}
