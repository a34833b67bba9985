//! Files of programs that make pipelines, before these programs have run.

use crate::node::{Node, Value};
use diagnostic::Diagnostic;

/// A program whose input the file is, and what to do with it.
pub struct Template {
    name: &'static str,
    sign: String,
    line: usize,
    help: &'static str,
}

/// What spruce calls its operators.
const OPERATORS: [&str; 26] = [
    "append",
    "awsparam",
    "awssecret",
    "base64",
    "base64-decode",
    "calc",
    "cartesian-product",
    "concat",
    "defer",
    "empty",
    "file",
    "grab",
    "inject",
    "inline",
    "ips",
    "join",
    "keys",
    "load",
    "merge",
    "param",
    "prepend",
    "prune",
    "replace",
    "sort",
    "static_ips",
    "vault",
];

impl Template {
    /// Finds out whether a file is meant for another program first. `root` is missing if it is no YAML.
    pub fn of(text: &str, root: Option<&Node>) -> Option<Self> {
        ytt(text).or_else(|| root.filter(|_| text.contains("(( ")).and_then(spruce))
    }

    /// Instead of all the problems that such a file has.
    pub fn error(&self, given: &str) -> Diagnostic {
        let Self { name, sign, line, help } = self;
        Diagnostic::new(format!("`{given}` is a template of {name}: `{sign}` in line {line}"))
            .help(*help)
    }

    /// For a file that is a pipeline all the same.
    pub fn notice(&self) -> String {
        let Self { name, sign, line, .. } = self;
        format!("`{sign}` in line {line} is of {name}, and stays as it is")
    }
}

fn ytt(text: &str) -> Option<Template> {
    let found = text.lines().enumerate().find_map(|(at, line)| {
        let comment = line.trim_start();
        let at = at + 1;
        let is_sign = comment.starts_with("#@") || line.contains(" #@ ");
        is_sign.then(|| (line[line.find("#@").unwrap_or(0)..].to_owned(), at))
    });
    let (sign, line) = found?;
    Some(Template {
        name: "ytt",
        sign: sign.chars().take(40).collect(),
        line,
        help: "render it first, as in `ytt -f FILE | ci run -`",
    })
}

fn spruce(node: &Node) -> Option<Template> {
    match &node.value {
        Value::Text(text) => {
            let inner = text.trim().strip_prefix("((")?.strip_suffix("))")?;
            if !inner.starts_with([' ', '\t']) {
                return None;
            }
            let word = inner.split_whitespace().next()?;
            OPERATORS.contains(&word).then(|| Template {
                name: "spruce",
                sign: text.trim().chars().take(40).collect(),
                line: node.mark.line,
                help: "merge it first, as in `spruce merge FILE | ci run -`; Concourse has `((name))` instead",
            })
        }
        Value::List(items) => items.iter().find_map(|item| spruce(item)),
        Value::Map(entries) => entries.iter().find_map(|entry| spruce(&entry.value)),
        _ => None,
    }
}
