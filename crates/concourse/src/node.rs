//! A YAML document as a tree that knows where each of its parts was written.

use std::rc::Rc;

use crate::json::{Json, JsonMap};
use crate::reference;

/// A place in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub mark: Mark,
    pub value: Value,
    /// Whether a variable is part of it, whose value must not be repeated in messages.
    pub from_var: bool,
    /// Whether a variable without a value is part of it, so that nobody knows yet what it is.
    pub missing: bool,
}

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// A number as it was written, such as `1.10`.
    Number(String),
    Text(String),
    List(Vec<Rc<Node>>),
    /// In the order of the document; merge keys are resolved.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    /// Whether a variable is part of the key.
    pub from_var: bool,
    pub mark: Mark,
    pub value: Rc<Node>,
}

impl Node {
    pub fn new(mark: Mark, value: Value) -> Self {
        Self { mark, value, from_var: false, missing: false }
    }

    /// The kind of value, with its article, as messages name it.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// A scalar as the text that a task's environment would hold; `None` for lists and mappings.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some(String::new()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Rc<Node>> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
            }
            _ => None,
        }
    }

    /// As JSON. Numbers keep their digits; those that JSON cannot hold become text.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(text) => Json::number(text),
            Value::Text(text) => Json::Text(text.clone()),
            Value::List(items) => Json::List(items.iter().map(|item| item.to_json()).collect()),
            Value::Map(entries) => {
                let fields = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Json::Map(JsonMap(fields.collect()))
            }
        }
    }

    /// Whether its text is known no earlier than a step runs, or not at all.
    pub fn is_open(&self) -> bool {
        self.missing || matches!(&self.value, Value::Text(text) if reference::has_local(text))
    }

    /// The value in backticks, as messages name it: never that of a variable.
    pub fn quoted(&self) -> String {
        match self.scalar() {
            Some(text) if !self.from_var => format!("`{}`", text.escape_debug()),
            Some(_) => "the value of a variable".to_owned(),
            None => self.kind().to_owned(),
        }
    }

    /// The value of a plain scalar by the core schema of YAML 1.2.
    pub fn plain(text: &str) -> Value {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            _ if is_number(text) => Value::Number(text.to_owned()),
            _ => Value::Text(text.to_owned()),
        }
    }
}

/// Whether a plain scalar is a number.
fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let radix = |prefix: &str, radix| {
        digits.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|digit: char| digit.is_digit(radix))
        })
    };
    if radix("0x", 16) || radix("0o", 8) {
        return true;
    }
    let belongs = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    digits.bytes().all(belongs) && text.parse::<f64>().is_ok()
}
