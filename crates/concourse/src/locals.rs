//! `((.:name))`: variables of a job that `across`, `load_var` and `get` define. Of one that nothing in the job
//! defines a warning is told before anything runs; the step that has it ends in an error.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::fields::list_of;
use crate::node::{Node, Value};
use crate::problem::{Problem, Problems};
use crate::reference;
use crate::suggest::did_you_mean;

pub fn check(job: &Node, problems: &mut Problems) {
    let mut references = Vec::new();
    collect(job, &mut references);
    if references.is_empty() {
        return;
    }
    let mut names = BTreeSet::new();
    defined(job, &mut names);
    for (node, name) in references {
        if !names.contains(&name) && !problems.is_full_of_warnings() {
            problems.warn(unknown(node, &name, &names));
        }
    }
}

/// Where the job refers to which variable.
fn collect<'a>(node: &'a Node, references: &mut Vec<(&'a Node, String)>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Map(entries) => {
            for entry in entries {
                if reference::has_local(&entry.key) {
                    refers(&entry.value, &entry.key, references);
                }
                collect(&entry.value, references);
            }
        }
        Value::Text(text) if reference::has_local(text) => refers(node, text, references),
        _ => {}
    }
}

fn refers<'a>(node: &'a Node, text: &str, references: &mut Vec<(&'a Node, String)>) {
    for name in reference::references(text).filter_map(|found| found.local()) {
        let name = reference::path(name).into_iter().next().unwrap_or_default();
        references.push((node, name));
    }
}

fn defined(node: &Node, names: &mut BTreeSet<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| defined(item, names)),
        Value::Map(entries) => {
            // A `get` step leaves the metadata of its version.
            let named = [node.get("load_var"), node.get("get")].into_iter().flatten();
            names.extend(named.filter_map(|name| name.scalar()));
            if let Some(Value::List(variables)) = node.get("across").map(|node| &node.value) {
                let name_of = |variable: &Rc<Node>| variable.get("var")?.scalar();
                names.extend(variables.iter().filter_map(name_of));
            }
            entries.iter().for_each(|entry| defined(&entry.value, names));
        }
        _ => {}
    }
}

fn unknown(node: &Node, name: &str, names: &BTreeSet<String>) -> Problem {
    let hint = did_you_mean(name, names.iter().map(String::as_str));
    let help = match names.len() {
        1..=20 => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("the job has {}", list_of(&names))
        }
        _ => {
            "`load_var`, `get` or `across` defines it in the job; others are `((name))`".to_owned()
        }
    };
    Problem::new(node.mark, format!("unknown variable `.:{name}`{hint}")).help(help)
}
