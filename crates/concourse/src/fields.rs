//! Reads values out of a document, and remembers what is wrong with them.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use crate::json::{Json, JsonMap};
use crate::node::{Entry, Node, Value};
use crate::problem::{Problem, Problems};
use crate::suggest::did_you_mean;

/// A mapping whose fields are asked for by name. What nobody asked for is an unknown field.
pub struct Fields<'a> {
    node: &'a Node,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub fn new(node: &'a Node, what: &'static str, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { node, entries, asked: Vec::new(), what }),
            _ => wrong(node, &format!("{what} as a mapping"), problems),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// The field's value; a field without one counts as left out.
    pub fn get(&mut self, name: &'static str) -> Option<&'a Rc<Node>> {
        self.asked.push(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(&entry.value).filter(|node| !matches!(node.value, Value::Null))
    }

    pub fn require(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'a Rc<Node>> {
        let found = self.get(name);
        if found.is_none() && !problems.is_full() {
            let message = format!("{} has no `{name}`", self.what);
            problems.add(Problem::new(self.node.mark, message).help(format!("add `{name}:`")));
        }
        found
    }

    pub fn text(&mut self, name: &'static str, problems: &mut Problems) -> Option<String> {
        self.get(name).and_then(|node| text(node, problems))
    }

    /// An empty text after a problem was told.
    pub fn required_text(&mut self, name: &'static str, problems: &mut Problems) -> String {
        let Some(node) = self.require(name, problems) else { return String::new() };
        let text = text(node, problems);
        if text.as_deref() == Some("") {
            problems.add(Problem::new(node.mark, format!("`{name}` is empty")));
        }
        text.unwrap_or_default()
    }

    pub fn flag(&mut self, name: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(name)?;
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) if node.from_var && text == "true" => Some(true),
            Value::Text(text) if node.from_var && text == "false" => Some(false),
            _ => wrong(node, "`true` or `false`", problems),
        }
    }

    pub fn count(&mut self, name: &'static str, problems: &mut Problems) -> Option<u32> {
        self.count_up_to(u32::MAX, name, problems)
    }

    /// A number of something, from 1.
    pub fn count_up_to(
        &mut self,
        most: u32,
        name: &'static str,
        problems: &mut Problems,
    ) -> Option<u32> {
        let node = self.get(name)?;
        let text = match &node.value {
            Value::Number(text) => text.as_str(),
            Value::Text(text) if node.from_var => text,
            _ => return wrong(node, "a whole number from 1", problems),
        };
        let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(count) if (1..=most).contains(&count) => Some(count),
            // Too large for the type means too large.
            _ if is_whole && text.bytes().any(|digit| digit != b'0') => {
                wrong(node, &format!("`{name}` from 1 to {most}"), problems)
            }
            _ => wrong(node, "a whole number from 1", problems),
        }
    }

    pub fn list<T>(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
        mut item: impl FnMut(&Rc<Node>, &mut Problems) -> Option<T>,
    ) -> Vec<T> {
        match self.get(name) {
            Some(node) => {
                items(node, problems).iter().filter_map(|node| item(node, problems)).collect()
            }
            None => Vec::new(),
        }
    }

    pub fn texts(&mut self, name: &'static str, problems: &mut Problems) -> Vec<String> {
        self.list(name, problems, |node, problems| text(node, problems))
    }

    /// A mapping of scalars, as a task's environment.
    pub fn scalars(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
    ) -> BTreeMap<String, String> {
        self.mapping(name, problems, |node, _| {
            Some(node.scalar().unwrap_or_else(|| node.to_json().to_string()))
        })
    }

    /// A mapping from names to names.
    pub fn names(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
    ) -> BTreeMap<String, String> {
        self.mapping(name, problems, text)
    }

    fn mapping(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
        mut value: impl FnMut(&Node, &mut Problems) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let Some(node) = self.get(name) else { return BTreeMap::new() };
        let Value::Map(entries) = &node.value else {
            return wrong(node, "a mapping", problems).unwrap_or_default();
        };
        entries
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), value(&entry.value, problems)?)))
            .collect()
    }

    /// A mapping of anything.
    pub fn object(&mut self, name: &'static str, problems: &mut Problems) -> JsonMap {
        let Some(node) = self.get(name) else { return JsonMap::default() };
        match node.to_json() {
            Json::Map(fields) => fields,
            _ => wrong(node, "a mapping", problems).unwrap_or_default(),
        }
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.get(name)?;
        let text = text(node, problems)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            wrong(node, &known.join(", "), problems)
        })
    }

    /// Tells what nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) && !problems.is_full() {
                let hint = did_you_mean(&entry.key, self.asked.iter().copied());
                let mut known: Vec<&str> = self.asked.clone();
                known.sort_unstable();
                problems.add(
                    Problem::new(entry.mark, format!("unknown field `{}`{hint}", entry.key))
                        .help(format!("{} has {}", self.what, list_of(&known))),
                );
            }
        }
    }
}

/// Names in backticks, each one once.
pub fn list_of(names: &[&str]) -> String {
    let mut seen = HashSet::new();
    let once = names.iter().filter(|name| seen.insert(**name));
    once.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub fn items<'a>(node: &'a Node, problems: &mut Problems) -> &'a [Rc<Node>] {
    match &node.value {
        Value::List(items) => items,
        _ => wrong(node, "a list", problems).unwrap_or_default(),
    }
}

pub fn text(node: &Node, problems: &mut Problems) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(text) => Some(text.clone()),
        _ => wrong(node, "text", problems),
    }
}

/// Tells that a value is not what it has to be, without a variable's value.
pub fn wrong<T>(node: &Node, expected: &str, problems: &mut Problems) -> Option<T> {
    if problems.is_full() {
        return None;
    }
    let got = match node.scalar() {
        Some(text) if !node.from_var && !text.is_empty() && text.chars().count() <= 40 => {
            format!("`{}`", text.escape_debug())
        }
        _ => node.kind().to_owned(),
    };
    problems.add(Problem::new(node.mark, format!("expected {expected}, got {got}")));
    None
}
