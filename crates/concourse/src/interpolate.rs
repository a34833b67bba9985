//! Replaces the variables of a document.

use std::collections::HashMap;
use std::rc::Rc;

use crate::missing::{Missing, Section, Why};
use crate::node::{Entry, Mark, Node, Value};
use crate::places::Places;
use crate::problem::{Problem, Problems};
use crate::reference::{Reference, references};
use crate::vars::{Found, Size, Vars};

/// The most that variables may add to a document: each of them may be used any number of times.
const MOST: Size = Size { nodes: 500_000, bytes: 64 * 1024 * 1024 };

/// Replaces the variables of one document, whose text is where places come from.
pub struct Interpolation<'a> {
    pub vars: &'a Vars,
    pub missing: &'a mut Missing,
    pub problems: &'a mut Problems,
    places: Places<'a>,
    section: Section,
    added: Size,
    is_full: bool,
}

impl<'a> Interpolation<'a> {
    pub fn new(
        text: &'a str,
        vars: &'a Vars,
        missing: &'a mut Missing,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            vars,
            missing,
            problems,
            places: Places::new(text),
            section: Section::Everywhere,
            added: Size::default(),
            is_full: false,
        }
    }

    /// The same pipeline with variables replaced. Fields that hold nothing but anchors stay as they are.
    pub fn pipeline(&mut self, root: &Rc<Node>, known: &[&str]) -> Rc<Node> {
        let Value::Map(entries) = &root.value else { return self.node(root) };
        let entries = entries.iter().map(|entry| {
            if entry.key == "var_sources" || !known.contains(&entry.key.as_str()) {
                return entry.clone();
            }
            let value = self.part(&entry.key, &entry.value);
            Entry { value, ..entry.clone() }
        });
        Rc::new(Node::new(root.mark, Value::Map(entries.collect())))
    }

    /// A field of a pipeline. Of a list of jobs and the like, each entry is a section of its own.
    fn part(&mut self, key: &str, node: &Rc<Node>) -> Rc<Node> {
        let section: fn(usize) -> Section = match key {
            "jobs" => Section::Job,
            "resources" => Section::Resource,
            "resource_types" => Section::ResourceType,
            "max_in_flight" | "assert" => |_| Section::Everywhere,
            _ => |_| Section::Nowhere,
        };
        let Value::List(items) = &node.value else {
            self.section = match key {
                "jobs" | "resources" | "resource_types" => Section::Everywhere,
                _ => section(0),
            };
            return self.node(node);
        };
        let items = items.iter().enumerate().map(|(index, item)| {
            self.section = section(index);
            self.node(item)
        });
        Rc::new(Node::new(node.mark, Value::List(items.collect())))
    }

    /// The same tree with variables replaced.
    pub fn node(&mut self, node: &Rc<Node>) -> Rc<Node> {
        match &node.value {
            Value::Text(text) if text.contains("((") => Rc::new(self.text(node.mark, text)),
            Value::List(items) => {
                let items = items.iter().map(|item| self.node(item)).collect();
                Rc::new(Node::new(node.mark, Value::List(items)))
            }
            Value::Map(entries) => {
                let mut has_new_keys = false;
                let mut replaced = Vec::with_capacity(entries.len());
                for entry in entries {
                    let value = self.node(&entry.value);
                    let entry = if entry.key.contains("((") {
                        has_new_keys = true;
                        self.key(entry, value)
                    } else {
                        Entry { key: entry.key.clone(), value, ..*entry }
                    };
                    replaced.push(entry);
                }
                if has_new_keys {
                    replaced = self.unique(replaced);
                }
                Rc::new(Node::new(node.mark, Value::Map(replaced)))
            }
            _ => node.clone(),
        }
    }

    fn key(&mut self, entry: &Entry, value: Rc<Node>) -> Entry {
        let key = self.text(entry.mark, &entry.key);
        let text = key.scalar().unwrap_or_else(|| {
            let message = format!("{} as a key, from a variable", key.kind());
            self.problems.add(Problem::new(entry.mark, message).help("keys are text"));
            entry.key.clone()
        });
        Entry { key: text, from_var: key.from_var, mark: entry.mark, value }
    }

    /// Of keys that have become the same, the last one counts.
    fn unique(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut unique: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(index) = at.get(&entry.key) {
                let problem = Problem::new(entry.mark, "duplicate key, by a variable");
                self.problems.warn(problem.help("only the last one counts"));
                unique[*index] = entry;
            } else {
                at.insert(entry.key.clone(), unique.len());
                unique.push(entry);
            }
        }
        unique
    }

    fn text(&mut self, mark: Mark, text: &str) -> Node {
        let mut node = Node::new(mark, Value::Null);
        let mut result = String::new();
        let mut copied = 0;
        let mut seen = mark;
        for reference in references(text) {
            if reference.local().is_some() {
                // It only has to be one.
                self.path(&reference, mark);
                continue;
            }
            let written = &text[reference.start..reference.end];
            let Some(value) = self.value(&reference, written, mark, &mut seen) else {
                node.missing = true;
                continue;
            };
            node.from_var = true;
            node.missing |= value.missing;
            if reference.is_all_of(text) {
                node.value = value.value.clone();
                return node;
            }
            result.push_str(&text[copied..reference.start]);
            copied = reference.end;
            match value.scalar() {
                Some(text) => result.push_str(&text),
                None => result.push_str(&value.to_json().to_string()),
            }
        }
        result.push_str(&text[copied..]);
        node.value = Value::Text(result);
        node
    }

    /// What a reference stands for. One without a value stays as it is.
    fn value(
        &mut self,
        reference: &Reference<'_>,
        written: &str,
        mark: Mark,
        seen: &mut Mark,
    ) -> Option<Rc<Node>> {
        let parts = self.path(reference, mark)?;
        let mut path = parts.1;
        if let Some(source) = &parts.0 {
            path[0] = format!("{source}:{}", path[0]);
        }
        let name = reference.name;
        let mut why = Why::NotGiven;
        match self.vars.find(&path) {
            Found::Value(found) => return self.counted(found.node, found.size, mark),
            Found::NoField(field)
                if reference.default.is_none() && !self.vars.is_in_parts(&path[0]) =>
            {
                self.no_field(name, &field, mark);
                return None;
            }
            Found::NoField(_) | Found::Nothing => {}
        }
        if let Some(source) = parts.0 {
            match self.vars.sources.get(&source) {
                Some(found) => {
                    path[0].drain(..=source.len());
                    match found.find(&path, self.vars) {
                        Found::Value(found) => return self.counted(found.node, found.size, mark),
                        Found::NoField(field) if reference.default.is_none() => {
                            self.no_field(name, &field, mark);
                            return None;
                        }
                        Found::NoField(_) | Found::Nothing => {}
                    }
                    if let Some(kind) = found.unread() {
                        why = Why::Source { kind: kind.to_owned() };
                    }
                    if let Some(prefix) = found.prefix() {
                        why = Why::NotNamed { variable: format!("{prefix}{}", path[0]) };
                    }
                }
                None => {
                    let mut known: Vec<String> = self.vars.sources.keys().cloned().collect();
                    known.sort();
                    why = Why::UnknownSource { name: source, known };
                }
            }
        }
        if let Some(default) = reference.default {
            let quoted = default.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let value =
                quoted.map_or_else(|| Node::plain(default), |text| Value::Text(text.to_owned()));
            return Some(Rc::new(Node::new(mark, value)));
        }
        let place = || {
            *seen = self.places.next(written, mark, *seen);
            *seen
        };
        if self.missing.add(name, || why, &self.section, place).is_err() {
            let problem = Problem::new(mark, "more than 10000 variables have no value");
            self.problems.add(problem.help("give them values with `--vars-file`"));
        }
        None
    }

    /// The source, the name and the fields of a reference.
    fn path(
        &mut self,
        reference: &Reference<'_>,
        mark: Mark,
    ) -> Option<(Option<String>, Vec<String>)> {
        match reference.parts() {
            Ok(parts) => Some((parts.source.map(str::to_owned), parts.path)),
            Err(wrong) => {
                let message = format!("`(({}))` is no variable: it has {wrong}", reference.name);
                let help = "write `((name))`, `((name.field))` or `((source:name))`";
                self.problems.add(Problem::new(mark, message).help(help));
                None
            }
        }
    }

    fn no_field(&mut self, name: &str, field: &str, mark: Mark) {
        let message = format!("the variable `{name}` has no value: there is no field `{field}`");
        let help = format!("add the field, or a default: `(({name} || …))`");
        self.problems.add(Problem::new(mark, message).help(help));
    }

    /// The value, unless there is too much of all values.
    fn counted(&mut self, node: Rc<Node>, size: Size, mark: Mark) -> Option<Rc<Node>> {
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
        (!self.is_full).then_some(node)
    }
}
