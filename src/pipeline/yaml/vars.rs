//! `((vars))`: values that a pipeline gets from outside.
//!
//! `((name))`, `((name.field))`, `(("odd.name"))` and `((name || default))`. A scalar that is nothing
//! but a variable takes the variable's type. `((.:name))` is a variable of the pipeline itself; it
//! is known when the step runs, and stays as it is here.

use std::rc::Rc;

use super::node::{Entry, Mark, Node, Value};
use super::problem::{Problem, Problems};

/// Variables as the command line gives them; the first one of a name counts.
#[derive(Clone, Default)]
pub struct Vars(Vec<(String, Rc<Node>)>);

impl Vars {
    pub fn add(&mut self, name: String, value: Rc<Node>) {
        self.0.push((name, value));
    }

    /// Adds all variables of a mapping.
    pub fn add_all(&mut self, node: &Node) -> Result<(), Problem> {
        let Value::Map(entries) = &node.value else {
            let message = format!("expected a mapping of variables, got {}", node.kind());
            return Err(Problem::new(node.mark, message));
        };
        self.0.extend(entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
        Ok(())
    }

    /// A field may also have been given by itself, as in `--var name.field=value`.
    fn find(&self, path: &[String]) -> Option<Rc<Node>> {
        (1..=path.len()).rev().find_map(|len| {
            let (start, fields) = path.split_at(len);
            let start = start.join(".");
            let (_, node) = self.0.iter().find(|(name, _)| *name == start)?;
            fields.iter().try_fold(node.clone(), |node, field| node.get(field).cloned())
        })
    }
}

/// The same tree with variables replaced.
pub fn interpolate(node: &Rc<Node>, vars: &Vars, problems: &mut Problems) -> Rc<Node> {
    match &node.value {
        Value::Text(text) if text.contains("((") => {
            Rc::new(replaced(node.mark, text, vars, problems))
        }
        Value::List(items) => Rc::new(Node::new(
            node.mark,
            Value::List(items.iter().map(|item| interpolate(item, vars, problems)).collect()),
        )),
        Value::Map(entries) => Rc::new(Node::new(
            node.mark,
            Value::Map(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: entry.key.clone(),
                        mark: entry.mark,
                        value: interpolate(&entry.value, vars, problems),
                    })
                    .collect(),
            ),
        )),
        _ => node.clone(),
    }
}

fn replaced(mark: Mark, text: &str, vars: &Vars, problems: &mut Problems) -> Node {
    let mut result = String::new();
    let mut from_var = false;
    let mut rest = text;
    while let Some(start) = rest.find("((") {
        let Some(len) = rest[start..].find("))") else { break };
        let inner = rest[start + 2..start + len].trim();
        let (before, after) = (&rest[..start], &rest[start + len + 2..]);
        result.push_str(before);
        rest = after;
        if inner.starts_with(".:") || !is_reference(inner) {
            result.push_str(&format!("(({inner}))"));
            continue;
        }
        from_var = true;
        let Some(value) = lookup(inner, vars, mark, problems) else {
            // One problem is enough: as it stands, it is not empty.
            result.push_str(&format!("(({inner}))"));
            continue;
        };
        if result.is_empty() && rest.is_empty() {
            let mut value = value.as_ref().clone();
            value.mark = mark;
            value.from_var = true;
            return value;
        }
        match value.scalar() {
            Some(text) => result.push_str(&text),
            None => result.push_str(&value.to_json().to_string()),
        }
    }
    result.push_str(rest);
    Node { mark, value: Value::Text(result), from_var }
}

fn lookup(inner: &str, vars: &Vars, mark: Mark, problems: &mut Problems) -> Option<Rc<Node>> {
    let (name, default) = match inner.split_once("||") {
        Some((name, default)) => (name.trim(), Some(default.trim())),
        None => (inner, None),
    };
    if let Some(value) = vars.find(&path(name)) {
        return Some(value);
    }
    if let Some(default) = default {
        let quoted = default.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let value =
            quoted.map_or_else(|| Node::plain(default), |text| Value::Text(text.to_owned()));
        return Some(Rc::new(Node::new(mark, value)));
    }
    problems.add(Problem::new(mark, format!("the variable `{name}` has no value")).help(format!(
        "give it one with `--var {name}=…` or `--vars-file`, or a default: `(({name} || …))`"
    )));
    None
}

/// What a shell means by `$((1 + 2))` is no variable.
fn is_reference(inner: &str) -> bool {
    let name = inner.split("||").next().unwrap_or_default().trim();
    !name.is_empty()
        && (name.starts_with('"')
            || name.chars().all(|c| c.is_alphanumeric() || "._-/:".contains(c))
                && !name.chars().all(|c| c.is_ascii_digit()))
}

/// The name and the fields of a reference.
fn path(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in name.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts
}
