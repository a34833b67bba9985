//! `((vars))`: values that a pipeline gets from outside.
//!
//! `((name))`, `((name.field))`, `(("odd.name"))` and `((name || default))`. A scalar that is nothing
//! but a variable takes the variable's type. `((.:name))` is a variable of the pipeline itself; it
//! is known when the step runs, and stays as it is here.

use std::collections::HashMap;
use std::rc::Rc;

use crate::node::{Entry, Mark, Node, Value};
use crate::problem::{Problem, Problems};
use crate::reference::{Reference, references};

/// Variables as the command line gives them; the first one of a name counts.
#[derive(Clone, Default)]
pub struct Vars {
    values: HashMap<String, Variable>,
    /// The most points that a name has.
    points: usize,
}

#[derive(Clone)]
struct Variable {
    node: Rc<Node>,
    size: Size,
}

impl Vars {
    pub fn add(&mut self, name: String, value: Rc<Node>) {
        self.points = self.points.max(name.matches('.').count());
        let size = Size::of(&value);
        self.values.entry(name).or_insert(Variable { node: value, size });
    }

    /// Adds all variables of a mapping.
    pub fn add_all(&mut self, node: &Node) -> Result<(), Problem> {
        let Value::Map(entries) = &node.value else {
            let message = format!("expected a mapping of variables, got {}", node.kind());
            return Err(Problem::new(node.mark, message));
        };
        for entry in entries {
            self.add(entry.key.clone(), entry.value.clone());
        }
        Ok(())
    }

    /// A field may also have been given by itself, as in `--var name.field=value`.
    fn find(&self, path: &[String]) -> Option<Variable> {
        (1..=path.len().min(self.points + 1)).rev().find_map(|len| {
            let (start, fields) = path.split_at(len);
            let found = self.values.get(&start.join("."))?;
            let field = fields
                .iter()
                .try_fold(found.node.clone(), |node, field| node.get(field).cloned())?;
            // A part is not larger than the whole, and need not be counted again and again.
            Some(Variable { node: field, size: found.size })
        })
    }
}

/// How much of a document a value is.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let inner = match &node.value {
            Value::Text(text) | Value::Number(text) => Self { nodes: 0, bytes: text.len() },
            Value::List(items) => items.iter().fold(Self::default(), |sum, item| sum.with(item)),
            Value::Map(entries) => entries.iter().fold(Self::default(), |sum, entry| {
                let sum = sum.with(&entry.value);
                Self { bytes: sum.bytes + entry.key.len(), ..sum }
            }),
            Value::Null | Value::Bool(_) => Self::default(),
        };
        Self { nodes: inner.nodes + 1, ..inner }
    }

    fn with(self, node: &Node) -> Self {
        let other = Self::of(node);
        Self { nodes: self.nodes + other.nodes, bytes: self.bytes + other.bytes }
    }
}

/// The same tree with variables replaced.
pub fn interpolate(node: &Rc<Node>, vars: &Vars, problems: &mut Problems) -> Rc<Node> {
    Interpolation { vars, problems, added: Size::default(), is_full: false }.node(node)
}

/// The most that variables may add to a document: each of them may be used any number of times.
const MOST: Size = Size { nodes: 500_000, bytes: 64 * 1024 * 1024 };

struct Interpolation<'a> {
    vars: &'a Vars,
    problems: &'a mut Problems,
    added: Size,
    is_full: bool,
}

impl Interpolation<'_> {
    fn node(&mut self, node: &Rc<Node>) -> Rc<Node> {
        match &node.value {
            Value::Text(text) if text.contains("((") => Rc::new(self.text(node.mark, text)),
            Value::List(items) => {
                let items = items.iter().map(|item| self.node(item)).collect();
                Rc::new(Node::new(node.mark, Value::List(items)))
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| Entry {
                    key: entry.key.clone(),
                    mark: entry.mark,
                    value: self.node(&entry.value),
                });
                Rc::new(Node::new(node.mark, Value::Map(entries.collect())))
            }
            _ => node.clone(),
        }
    }

    fn text(&mut self, mark: Mark, text: &str) -> Node {
        let mut result = String::new();
        let mut from_var = false;
        let mut copied = 0;
        for reference in references(text).filter(|reference| reference.local().is_none()) {
            from_var = true;
            let Some(value) = self.value(&reference, mark) else { continue };
            if reference.is_all_of(text) {
                let mut value = value.as_ref().clone();
                value.mark = mark;
                value.from_var = true;
                return value;
            }
            result.push_str(&text[copied..reference.start]);
            copied = reference.end;
            match value.scalar() {
                Some(text) => result.push_str(&text),
                None => result.push_str(&value.to_json().to_string()),
            }
        }
        result.push_str(&text[copied..]);
        Node { mark, value: Value::Text(result), from_var }
    }

    /// What a reference stands for. One without a value stays as it is, which is not empty, so that
    /// one problem is enough.
    fn value(&mut self, reference: &Reference<'_>, mark: Mark) -> Option<Rc<Node>> {
        let name = reference.name;
        if let Some(Variable { node, size }) = self.vars.find(&reference.path()) {
            self.added.nodes = self.added.nodes.saturating_add(size.nodes);
            self.added.bytes = self.added.bytes.saturating_add(size.bytes);
            let is_full = self.added.nodes > MOST.nodes || self.added.bytes > MOST.bytes;
            if is_full && !std::mem::replace(&mut self.is_full, true) {
                let message = format!(
                    "with its variables the document has more than {} nodes or {} bytes",
                    MOST.nodes, MOST.bytes
                );
                self.problems.add(
                    Problem::new(mark, message)
                        .help("a value counts as often as it is used: use large ones less often"),
                );
            }
            return (!self.is_full).then_some(node);
        }
        if let Some(default) = reference.default {
            let quoted = default.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let value =
                quoted.map_or_else(|| Node::plain(default), |text| Value::Text(text.to_owned()));
            return Some(Rc::new(Node::new(mark, value)));
        }
        if !self.problems.is_full() {
            self.problems.add(
                Problem::new(mark, format!("the variable `{name}` has no value")).help(format!(
                    "give it one with `--var {name}=…`, `--vars-file` or `--secret {name}`, or a default: \
                     `(({name} || …))`"
                )),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[test]
    fn a_name_with_points_is_found_before_a_field() {
        let mut vars = Vars::default();
        let text = |text: &str| Rc::new(Node::new(Mark::default(), Value::Text(text.to_owned())));
        vars.add("a.b".to_owned(), text("whole"));
        vars.add("a.b".to_owned(), text("later"));
        let found = |name: &str| Some(vars.find(&reference::path(name))?.node.scalar());
        assert_eq!(found("a.b"), Some(Some("whole".to_owned())));
        assert_eq!(found("a.b.c"), None);
        assert_eq!(found("a"), None);
    }
}
