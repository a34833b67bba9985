//! How often steps run: `across` and `parallelism` multiply, also those of steps within steps.

use std::rc::Rc;

use crate::node::{Node, Value};
use crate::problem::{Problem, Problems};

/// How often one step may run in a job, attempts not counted. Nobody means more, and no run of so
/// many would end.
const MOST: u64 = 100_000;

/// Counts before anything is built. A list that is known no earlier than the step runs is counted then.
pub fn check(job: &Node, problems: &mut Problems) {
    each(job.get("plan"), |node| step(node, 1, problems));
    hooks(job, 1, problems);
}

const HOOKS: [&str; 5] = ["on_success", "on_failure", "on_error", "on_abort", "ensure"];

fn hooks(node: &Node, times: u64, problems: &mut Problems) {
    for hook in HOOKS {
        if let Some(hook) = node.get(hook) {
            step(hook, times, problems);
        }
    }
}

fn step(node: &Node, outside: u64, problems: &mut Problems) {
    // Hooks run after all combinations.
    hooks(node, outside, problems);
    let mut times = outside;
    let across = node.get("across");
    each(across, |variable| {
        if let Some(Value::List(values)) = variable.get("values").map(|node| &node.value) {
            times = times.saturating_mul(values.len() as u64);
        }
    });
    if let Some(across) = across.filter(|_| times > MOST) {
        return problems.add(too_many(across, "combinations", times));
    }
    let copies = node.get("parallelism");
    let count = copies.and_then(|node| node.scalar()).and_then(|text| text.parse::<u64>().ok());
    times = times.saturating_mul(count.unwrap_or(1).max(1));
    if let Some(copies) = copies.filter(|_| times > MOST) {
        return problems.add(too_many(copies, "copies", times));
    }
    for steps in ["do", "try", "in_parallel"] {
        let Some(inner) = node.get(steps) else { continue };
        each(Some(inner.get("steps").unwrap_or(inner)), |node| step(node, times, problems));
    }
}

fn too_many(node: &Node, what: &str, times: u64) -> Problem {
    let count = match times {
        u64::MAX => String::new(),
        times => format!("{times} {what}, "),
    };
    Problem::new(node.mark, format!("the step would run too often: {count}more than {MOST}"))
        .help("split it into several jobs, or let a task work through a list by itself")
}

/// The items of a list, or the one that stands for it.
fn each(node: Option<&Rc<Node>>, mut visit: impl FnMut(&Node)) {
    match node.map(|node| (&node.value, node)) {
        Some((Value::List(items), _)) => items.iter().for_each(|item| visit(item)),
        Some((Value::Map(_), node)) => visit(node),
        _ => {}
    }
}
