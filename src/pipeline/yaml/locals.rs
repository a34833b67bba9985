//! `((.:name))`: variables of a job that `across` and `load_var` define. One that nothing in the job
//! defines is told before anything runs.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::fields::list_of;
use super::node::{Node, Value};
use super::problem::{Problem, Problems};
use super::suggest::did_you_mean;

pub fn check(job: &Node, problems: &mut Problems) {
    let mut names = BTreeSet::new();
    defined(job, &mut names);
    used(job, &names, problems);
}

fn defined(node: &Node, names: &mut BTreeSet<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| defined(item, names)),
        Value::Map(entries) => {
            names.extend(node.get("load_var").and_then(|name| name.scalar()));
            if let Some(Value::List(variables)) = node.get("across").map(|node| &node.value) {
                let names_of = |variable: &Rc<Node>| variable.get("var")?.scalar();
                names.extend(variables.iter().filter_map(names_of));
            }
            entries.iter().for_each(|entry| defined(&entry.value, names));
        }
        _ => {}
    }
}

fn used(node: &Node, names: &BTreeSet<String>, problems: &mut Problems) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| used(item, names, problems)),
        Value::Map(entries) => {
            entries.iter().for_each(|entry| used(&entry.value, names, problems));
        }
        Value::Text(text) => {
            for part in text.split("((.:").skip(1) {
                let Some((reference, _)) = part.split_once("))") else { continue };
                let name = reference.trim().split('.').next().unwrap_or_default();
                if !names.contains(name) && !problems.is_full() {
                    problems.add(unknown(node, name, names));
                }
            }
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
            "a `load_var` step or `across` defines it in the job; others are `((name))`".to_owned()
        }
    };
    Problem::new(node.mark, format!("unknown variable `.:{name}`{hint}")).help(help)
}
