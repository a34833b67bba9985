//! `((vars))`: values that a pipeline gets from outside.
//!
//! `((name))`, `((name.field))`, `(("odd.name"))`, `((source:name))` and `((name || default))`, in values and in
//! keys. A scalar that is nothing but a variable takes the variable's type. `((.:name))` is a variable of the
//! pipeline itself; it is known when the step runs, and stays as it is here.

use std::collections::HashMap;
use std::rc::Rc;

use crate::json::JsonMap;
use crate::node::{Node, Value};
use crate::problem::Problem;
use crate::sources::Source;

/// Variables as the command line gives them; the first one of a name counts.
#[derive(Clone, Default)]
pub struct Vars {
    values: HashMap<String, Variable>,
    /// The most points that a name has.
    points: usize,
    /// What `var_sources` of the pipeline declares.
    pub sources: HashMap<String, Source>,
}

/// A value, and how much of a document it is.
#[derive(Clone)]
pub struct Variable {
    pub node: Rc<Node>,
    pub size: Size,
}

/// What a look for a variable finds.
pub enum Found {
    Value(Variable),
    /// The variable has a value, which lacks this field.
    NoField(String),
    Nothing,
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
    pub fn find(&self, path: &[String]) -> Found {
        let mut lacks = None;
        for len in (1..=path.len().min(self.points + 1)).rev() {
            let (start, fields) = path.split_at(len);
            let Some(found) = self.values.get(&start.join(".")) else { continue };
            match field(&found.node, fields) {
                // A part is not larger than the whole, and need not be counted again and again.
                Ok(node) => return Found::Value(Variable { node, size: found.size }),
                Err(field) => lacks = lacks.or(Some(field.to_owned())),
            }
        }
        lacks.map_or(Found::Nothing, Found::NoField)
    }

    /// Whether a variable with fields was given in parts, as in `--var name.field=value`.
    pub fn is_in_parts(&self, name: &str) -> bool {
        self.points > 0 && self.values.keys().any(|key| is_part(key, name))
    }

    /// All values that the command line gives, for what is read when a step runs.
    pub fn to_json(&self) -> JsonMap {
        let mut names: Vec<_> = self.values.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        JsonMap(
            names.into_iter().map(|(name, found)| (name.clone(), found.node.to_json())).collect(),
        )
    }
}

fn is_part(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

/// A field of a field of a value; or the name of the first one that is not there.
pub fn field<'a>(node: &Rc<Node>, fields: &'a [String]) -> Result<Rc<Node>, &'a str> {
    let mut node = node.clone();
    for field in fields {
        node = node.get(field).ok_or(field.as_str())?.clone();
    }
    Ok(node)
}

/// How much of a document a value is.
#[derive(Clone, Copy, Default)]
pub struct Size {
    pub nodes: usize,
    pub bytes: usize,
}

impl Size {
    pub fn of(node: &Node) -> Self {
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

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;
    use crate::node::Mark;

    #[test]
    fn a_name_with_points_is_found_before_a_field() {
        let mut vars = Vars::default();
        let text = |text: &str| Rc::new(Node::new(Mark::default(), Value::Text(text.to_owned())));
        vars.add("a.b".to_owned(), text("whole"));
        vars.add("a.b".to_owned(), text("later"));
        let found = |name: &str| match vars.find(&reference::path(name)) {
            Found::Value(found) => found.node.scalar(),
            Found::NoField(field) => Some(format!("no {field}")),
            Found::Nothing => None,
        };
        assert_eq!(found("a.b"), Some("whole".to_owned()));
        assert_eq!(found("a.b.c"), Some("no c".to_owned()));
        assert_eq!(found("a"), None);
        assert!(vars.is_in_parts("a") && !vars.is_in_parts("a.b"));
    }
}
