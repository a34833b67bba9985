//! `var_sources`: where `((source:name))` comes from.

use std::path::Path;
use std::rc::Rc;

use diagnostic::Diagnostic;

use crate::fields::{Fields, items};
use crate::input;
use crate::interpolate::Interpolation;
use crate::missing::Missing;
use crate::node::{Mark, Node, Value};
use crate::problem::{Problem, Problems};
use crate::read;
use crate::reference::references;
use crate::vars::{Found, Size, Variable, Vars, field};

/// A source of variables.
#[derive(Clone)]
pub enum Source {
    /// `dummy` and `file`: values of a mapping.
    Values(Rc<Node>),
    /// `env`: what the command line gives under a name that starts with this. A pipeline sees no variable of the
    /// environment that the user has not named, as with `--secret`.
    Named { prefix: String },
    /// A program that keeps secrets, which is not asked.
    Unread { kind: String },
}

/// What Concourse can ask for secrets, and what it does not know in pipelines but elsewhere.
const UNREAD: [&str; 9] = [
    "vault",
    "ssm",
    "secretsmanager",
    "secretmanager",
    "idtoken",
    "conjur",
    "credhub",
    "kubernetes",
    "akeyless",
];

/// How often sources are looked at for those that others need first.
const MOST_ROUNDS: usize = 100;

impl Source {
    pub fn find(&self, path: &[String], vars: &Vars) -> Found {
        let Some((name, fields)) = path.split_first() else { return Found::Nothing };
        match self {
            Self::Values(values) => match values.get(name) {
                Some(node) => match field(node, fields) {
                    Ok(node) => Found::Value(Variable { size: Size::of(&node), node }),
                    Err(field) => Found::NoField(field.to_owned()),
                },
                None => Found::Nothing,
            },
            Self::Named { prefix } => {
                let named = [format!("{prefix}{name}")].into_iter().chain(fields.iter().cloned());
                vars.find(&named.collect::<Vec<_>>())
            }
            Self::Unread { .. } => Found::Nothing,
        }
    }

    /// What stands before each name that a source looks for on the command line.
    pub fn prefix(&self) -> Option<&str> {
        match self {
            Self::Named { prefix } => Some(prefix),
            _ => None,
        }
    }

    /// The type of a source that is not asked.
    pub fn unread(&self) -> Option<&str> {
        match self {
            Self::Unread { kind } => Some(kind),
            _ => None,
        }
    }
}

/// Reads the sources of a pipeline. A source may have variables of another one; `directory` is where the files of
/// `file` sources are; without it neither they nor the environment are read.
pub fn read_sources(
    node: &Rc<Node>,
    text: &str,
    directory: Option<&Path>,
    vars: &mut Vars,
    missing: &mut Missing,
    problems: &mut Problems,
) {
    let mut open: Vec<&Rc<Node>> = items(node, problems).iter().collect();
    for _ in 0..MOST_ROUNDS {
        let names: Vec<String> =
            open.iter().filter_map(|node| node.get("name")?.scalar()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) =
            open.iter().copied().partition(|node| !needs_one_of(node, &names));
        if ready.is_empty() {
            break;
        }
        for node in ready {
            if let Some((name, source)) = source(node, text, directory, vars, missing, problems) {
                vars.sources.insert(name, source);
            }
        }
        open = rest;
    }
    if let Some(first) = open.first() {
        let problem = Problem::new(first.mark, "sources of variables that need each other");
        problems.add(problem.help("give one of them values that need no other source"));
    }
}

/// Whether the config of a source has variables of sources that are not read yet.
fn needs_one_of(node: &Node, names: &[String]) -> bool {
    let is_one = |text: &str| {
        references(text).any(|reference| {
            let parts = reference.parts();
            parts.is_ok_and(|parts| {
                parts.source.is_some_and(|it| names.iter().any(|name| name == it))
            })
        })
    };
    match &node.value {
        Value::Text(text) => text.contains("((") && is_one(text),
        Value::List(items) => items.iter().any(|item| needs_one_of(item, names)),
        Value::Map(entries) => {
            entries.iter().any(|entry| is_one(&entry.key) || needs_one_of(&entry.value, names))
        }
        _ => false,
    }
}

fn source(
    node: &Rc<Node>,
    text: &str,
    directory: Option<&Path>,
    vars: &Vars,
    missing: &mut Missing,
    problems: &mut Problems,
) -> Option<(String, Source)> {
    // What is not asked needs no values for its config.
    let kind = node.get("type").and_then(|kind| kind.scalar()).unwrap_or_default();
    let is_read = matches!(kind.as_str(), "dummy" | "env" | "file") || kind.contains("((");
    let replaced = match is_read {
        true => Interpolation::new(text, vars, missing, problems).node(node),
        false => node.clone(),
    };
    let mut fields = Fields::new(&replaced, "a source of variables", problems)?;
    let name = fields.required_text("name", problems);
    let kind = fields.required_text("type", problems);
    let config = fields.get("config");
    fields.finish(problems);
    let source = match kind.as_str() {
        "dummy" => Source::Values(values(config, problems)?),
        "env" | "file" if directory.is_none() => Source::Unread { kind },
        "env" => {
            let mut prefix = None;
            if let Some(config) = config {
                let mut fields = Fields::new(config, "the `config` of an `env` source", problems)?;
                prefix = fields.text("prefix", problems);
                fields.finish(problems);
            }
            Source::Named { prefix: prefix.unwrap_or_default() }
        }
        "file" => Source::Values(from_file(config?, directory?, problems)?),
        known if UNREAD.contains(&known) => Source::Unread { kind },
        _ => {
            let mark = replaced.get("type").map_or(replaced.mark, |node| node.mark);
            let kind = replaced.get("type").map_or_else(|| kind.clone(), |node| node.quoted());
            let problem = Problem::new(mark, format!("unknown source of variables {kind}"));
            let help = format!("there are `dummy`, `env`, `file`, `{}`", UNREAD.join("`, `"));
            problems.add(problem.help(help));
            return None;
        }
    };
    Some((name, source))
}

/// The mapping of values in the config of a `dummy` source.
fn values(config: Option<&Rc<Node>>, problems: &mut Problems) -> Option<Rc<Node>> {
    let empty = || Rc::new(Node::new(Mark::default(), Value::Map(Vec::new())));
    let Some(config) = config else { return Some(empty()) };
    let mut fields = Fields::new(config, "the `config` of a `dummy` source", problems)?;
    let values = fields.get("vars").cloned().unwrap_or_else(empty);
    fields.finish_loosely(problems);
    Fields::new(&values, "`vars`", problems).map(|_| values.clone())
}

/// The text of a file below the directory of the pipeline, links resolved: no other file of the machine is the
/// pipeline's to read.
fn read_beside(path: &str, directory: &Path) -> Result<String, Vec<Diagnostic>> {
    let refused = |reason: String| vec![Diagnostic::new(format!("cannot read `{path}`: {reason}"))];
    let find = |path: &Path| path.canonicalize().map_err(|error| refused(error.to_string()));
    let (directory, file) = (find(directory)?, find(&directory.join(path))?);
    match file.starts_with(&directory) {
        true => input::read(path, &file),
        false => Err(refused("it is not below the directory of the pipeline".to_owned())),
    }
}

/// The values in a file of a `file` source.
fn from_file(config: &Node, directory: &Path, problems: &mut Problems) -> Option<Rc<Node>> {
    let mut fields = Fields::new(config, "the `config` of a `file` source", problems)?;
    let path = fields.required_text("path", problems);
    let mark = fields.get("path").map_or(config.mark, |node| node.mark);
    fields.finish(problems);
    if path.is_empty() {
        return None;
    }
    let text = match read_beside(&path, directory) {
        Ok(text) => text,
        Err(reasons) => {
            let reasons = reasons.into_iter().map(|one| Problem::new(mark, one.message));
            reasons.for_each(|reason| problems.add(reason));
            return None;
        }
    };
    let mut inner = Problems::default();
    let root = read::read(&text, &mut inner);
    if let Some(problem) = inner.first() {
        let message = format!("`{path}`: {} in line {}", problem.message, problem.mark.line);
        problems.add(Problem::new(mark, message));
        return None;
    }
    let root = root.filter(|root| matches!(root.value, Value::Map(_)));
    if root.is_none() {
        problems.add(Problem::new(mark, format!("`{path}` is no mapping of variables")));
    }
    root
}
