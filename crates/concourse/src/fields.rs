//! Reads values out of a document, and remembers what is wrong with them.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use crate::json::{Json, JsonMap};
use crate::node::{Entry, Mark, Node, Value};
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

    /// Says what the mapping has turned out to be.
    pub fn call(&mut self, what: &'static str) {
        self.what = what;
    }

    pub fn mark(&self) -> Mark {
        self.node.mark
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
        self.get(name).and_then(|node| self.own_text(node, problems))
    }

    /// A text of this mapping. Within steps Concourse takes no number for one.
    fn own_text(&self, node: &Node, problems: &mut Problems) -> Option<String> {
        if is_of_steps(self.what) {
            warn_of_scalar(node, problems);
        }
        text(node, problems)
    }

    /// An empty text after a problem was told.
    pub fn required_text(&mut self, name: &'static str, problems: &mut Problems) -> String {
        let Some(node) = self.require(name, problems) else { return String::new() };
        let text = self.own_text(node, problems);
        if text.as_deref() == Some("") && !node.missing {
            problems.add(Problem::new(node.mark, format!("`{name}` is empty")));
        }
        text.unwrap_or_default()
    }

    pub fn flag(&mut self, name: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(name)?;
        match &node.value {
            Value::Bool(value) => Some(*value),
            // YAML 1.1, which Concourse reads, has these too.
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => Some(true),
                "n" | "no" | "off" => Some(false),
                "true" if node.from_var => Some(true),
                "false" if node.from_var => Some(false),
                _ => wrong(node, "`true` or `false`", problems),
            },
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
        match whole(node) {
            Some(count) if (1..=i64::from(most)).contains(&count) => u32::try_from(count).ok(),
            Some(count) if count > 0 => {
                wrong(node, &format!("`{name}` from 1 to {most}"), problems)
            }
            _ => wrong(node, "a whole number from 1", problems),
        }
    }

    /// An upper bound. As in Concourse, there is none if it is 0 or less.
    pub fn limit(&mut self, name: &'static str, problems: &mut Problems) -> Option<u32> {
        let node = self.get(name)?;
        match whole(node) {
            Some(count) if count <= 0 => None,
            // More than there can be of anything.
            Some(count) => Some(u32::try_from(count).unwrap_or(u32::MAX)),
            None => wrong(node, "a whole number", problems),
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
        self.list(name, problems, |node, problems| match &node.value {
            Value::Null => None,
            _ => text(node, problems),
        })
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
        self.record();
        for entry in self.unknown() {
            if !problems.is_full() {
                problems.add(self.problem(entry));
            }
        }
    }

    /// Warns of what nobody asked for, where Concourse ignores it.
    pub fn finish_loosely(self, problems: &mut Problems) {
        self.record();
        for entry in self.unknown() {
            if !problems.is_full_of_warnings() {
                problems.warn(self.problem(entry));
            }
        }
    }

    /// Lets other fields be.
    pub fn end(self) {
        self.record();
    }

    fn unknown(&self) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str()))
    }

    fn problem(&self, entry: &Entry) -> Problem {
        let message = match entry.from_var {
            true => "unknown field, named by a variable".to_owned(),
            false => {
                let hint = did_you_mean(&entry.key, self.asked.iter().copied());
                format!("unknown field `{}`{hint}", entry.key)
            }
        };
        let mut known: Vec<&str> = self.asked.clone();
        known.sort_unstable();
        Problem::new(entry.mark, message).help(format!("{} has {}", self.what, list_of(&known)))
    }

    /// Tells the tests which fields there are.
    fn record(&self) {
        #[cfg(test)]
        crate::tests::record(self.what, &self.asked);
    }
}

/// A whole number, also as `1.0`. What is too large for the type is as large as it can be.
fn whole(node: &Node) -> Option<i64> {
    let text = match &node.value {
        Value::Number(text) => text.as_str(),
        Value::Text(text) if node.from_var => text,
        _ => return None,
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (digits, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_whole = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && fraction.bytes().all(|byte| byte == b'0');
    is_whole.then(|| digits.parse::<i64>().unwrap_or(i64::MAX) * sign)
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
        Value::Null => &[],
        _ => wrong(node, "a list", problems).unwrap_or_default(),
    }
}

pub fn text(node: &Node, problems: &mut Problems) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        _ => wrong(node, "text", problems),
    }
}

/// Whether a mapping belongs to a step.
fn is_of_steps(what: &str) -> bool {
    what.ends_with("` step")
        || ["a task's `config`", "`run`", "an input", "an output", "a cache", "an `image_resource`"]
            .contains(&what)
}

/// Warns of a number or a boolean in the place of a text.
pub fn warn_of_scalar(node: &Node, problems: &mut Problems) {
    let is_scalar = matches!(node.value, Value::Number(_) | Value::Bool(_));
    if is_scalar && !node.from_var && !problems.is_full_of_warnings() {
        let message = format!("{} is {}, and stands for a text", node.quoted(), node.kind());
        problems.warn(Problem::new(node.mark, message).help("put it into quotes, for Concourse"));
    }
}

/// Tells that a value is not what it has to be, without a variable's value. What a variable without a value will be
/// is told when it has one.
pub fn wrong<T>(node: &Node, expected: &str, problems: &mut Problems) -> Option<T> {
    if problems.is_full() || node.missing {
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
