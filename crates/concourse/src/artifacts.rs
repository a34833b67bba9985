//! Artifacts flow by name from step to step of a job. Of one that no step before can have made a warning is told
//! before anything runs; as in Concourse, the step that asks for it ends in an error.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::fields::list_of;
use crate::node::{Node, Value};
use crate::problem::{Problem, Problems};
use crate::reference;
use crate::suggest::did_you_mean;

/// Checks the steps and hooks of a job, in the order in which they run. `inputs` are there before the first one.
pub fn check(job: &Node, inputs: &[String], problems: &mut Problems) {
    let names = inputs.iter().cloned().collect();
    let mut known = Known { names, ..Known::default() };
    for node in list(job.get("plan")) {
        step(node, &mut known, problems);
    }
    hooks(job, &mut known, problems);
}

const HOOKS: [&str; 5] = ["on_success", "on_failure", "on_error", "on_abort", "ensure"];

/// The artifacts that there may be at some point of a job.
#[derive(Default)]
struct Known {
    names: BTreeSet<String>,
    /// Those that come from variables, whose values no message repeats.
    from_var: BTreeSet<String>,
    /// The names in the order in which they came.
    added: Vec<String>,
    /// Whether there may be others too: what a task's file says is known no earlier than it runs.
    others: bool,
}

impl Known {
    fn add(&mut self, name: Option<&Rc<Node>>) {
        if let Some(text) = name.filter(|name| name.from_var).and_then(|name| name.scalar()) {
            self.from_var.insert(text);
        }
        if name.is_some_and(|name| name.missing) {
            self.others = true;
        }
        match name.and_then(|name| name.scalar()) {
            Some(name) if is_open(&name) => self.others = true,
            Some(name) if self.names.insert(name.clone()) => self.added.push(name),
            Some(_) | None => {}
        }
    }

    /// What is known at this point, for `rewind`. A copy would take too long for many steps.
    fn state(&self) -> (usize, bool) {
        (self.added.len(), self.others)
    }

    /// Forgets what came later.
    fn rewind(&mut self, (len, others): (usize, bool)) {
        for name in self.added.drain(len..) {
            self.names.remove(&name);
        }
        self.others = others;
    }

    fn need(&self, node: &Node, name: &str, problems: &mut Problems) {
        let found = self.others || is_open(name) || self.names.contains(name);
        if found || node.from_var || node.missing || problems.is_full_of_warnings() {
            return;
        }
        let names: Vec<&str> = self.names.difference(&self.from_var).map(String::as_str).collect();
        let hint = did_you_mean(name, names.iter().copied());
        let help = match names.len() {
            1..=20 => format!("steps before make {}", list_of(&names)),
            _ => "add a `get` step, or a task that has it as an output, before".to_owned(),
        };
        let message = format!("no step before makes the artifact `{name}`{hint}");
        problems.warn(Problem::new(node.mark, message).help(help));
    }
}

/// Whether it is known no earlier than the step runs.
fn is_open(text: &str) -> bool {
    reference::has_local(text)
}

fn step(node: &Node, known: &mut Known, problems: &mut Problems) {
    let outside = known.state();
    needs(node, known, problems);
    if let Some(parallel) = node.get("in_parallel") {
        let steps = list(Some(parallel.get("steps").unwrap_or(parallel)));
        // Which one is first depends on `limit` and on time.
        steps.iter().for_each(|step| makes(step, known));
        for node in steps {
            let beside = known.state();
            step(node, known, problems);
            known.rewind(beside);
        }
    }
    for steps in ["do", "try"] {
        for node in one_or_more(node.get(steps)) {
            step(node, known, problems);
        }
    }
    own(node, known);
    if node.get("across").is_some() {
        // What the combinations make stays among them.
        known.rewind(outside);
    }
    hooks(node, known, problems);
}

fn hooks(node: &Node, known: &mut Known, problems: &mut Problems) {
    for hook in HOOKS {
        if let Some(hook) = node.get(hook) {
            step(hook, known, problems);
        }
    }
}

/// What a step itself asks for.
fn needs(node: &Node, known: &Known, problems: &mut Problems) {
    for field in ["file", "uri"] {
        let reads = ["task", "load_var", "set_pipeline"];
        if reads.iter().any(|kind| node.get(kind).is_some())
            && let Some(file) = node.get(field)
            && let Value::Text(text) = &file.value
        {
            let path = text.strip_prefix("file://").unwrap_or(text);
            known.need(file, path.split('/').next().unwrap_or_default(), problems);
        }
    }
    if node.get("task").is_some() {
        if let Some(image) = node.get("image").filter(|image| matches!(image.value, Value::Text(_)))
        {
            known.need(image, &image.scalar().unwrap_or_default(), problems);
        }
        let inputs = node.get("config").and_then(|config| config.get("inputs"));
        for input in list(inputs) {
            let Some(name) = input.get("name") else { continue };
            let optional =
                input.get("optional").is_some_and(|node| matches!(node.value, Value::Bool(true)));
            let text = name.scalar().unwrap_or_default();
            let source = node.get("input_mapping").and_then(|map| map.get(&text)).unwrap_or(name);
            if !optional && !text.is_empty() {
                known.need(source, &source.scalar().unwrap_or_default(), problems);
            }
        }
    }
    if node.get("put").is_some() {
        for input in list(node.get("inputs")) {
            known.need(input, &input.scalar().unwrap_or_default(), problems);
        }
    }
}

/// Adds what a step with all that is in it makes.
fn makes(node: &Node, known: &mut Known) {
    if node.get("across").is_none() {
        let parallel = node.get("in_parallel");
        let steps = parallel.map(|node| node.get("steps").unwrap_or(node));
        list(steps).iter().for_each(|step| makes(step, known));
        for steps in ["do", "try"] {
            one_or_more(node.get(steps)).iter().for_each(|step| makes(step, known));
        }
        own(node, known);
    }
    for hook in HOOKS {
        if let Some(hook) = node.get(hook) {
            makes(hook, known);
        }
    }
}

/// Adds what a step itself makes.
fn own(node: &Node, known: &mut Known) {
    known.add(node.get("get"));
    known.add(node.get("put"));
    if node.get("task").is_some() {
        known.others |= node.get("file").or_else(|| node.get("uri")).is_some();
        let outputs = node.get("config").and_then(|config| config.get("outputs"));
        for output in list(outputs) {
            let name = output.get("name");
            let text = name.and_then(|name| name.scalar()).unwrap_or_default();
            let mapped = node.get("output_mapping").and_then(|map| map.get(&text));
            known.add(mapped.or(name));
        }
    }
}

fn list(node: Option<&Rc<Node>>) -> &[Rc<Node>] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn one_or_more(node: Option<&Rc<Node>>) -> &[Rc<Node>] {
    match node {
        Some(one) if matches!(one.value, Value::Map(_)) => std::slice::from_ref(one),
        other => list(other),
    }
}
