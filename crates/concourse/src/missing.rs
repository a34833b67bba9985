//! Variables without a value: what they are called, where they stand, and who needs them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use diagnostic::{Diagnostic, Place};

use crate::node::Mark;
use crate::plan::{Action, Plan};
use crate::problem::Problem;

/// A part of a pipeline, which a run may need or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// By its place in `jobs`.
    Job(usize),
    /// By its place in `resources`.
    Resource(usize),
    /// By its place in `resource_types`.
    ResourceType(usize),
    /// What every run needs.
    Everywhere,
    /// What no run needs, such as `groups`.
    Nowhere,
}

/// Why a variable has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody has given one.
    NotGiven,
    /// It comes from a source of this type, which is not read here.
    Source { kind: String },
    /// It is a variable of the environment that the command line does not name.
    NotNamed { variable: String },
    /// No source has this name.
    UnknownSource { name: String, known: Vec<String> },
}

/// A variable without a value.
#[derive(Clone, Debug, PartialEq)]
pub struct MissingVar {
    /// As it is written between the parentheses.
    pub name: String,
    /// The first places where it stands, in the order of the file.
    pub places: Vec<Place>,
    /// What to do about it.
    pub help: String,
    message: String,
}

impl MissingVar {
    /// As an error, at its first place.
    pub fn diagnostic(&self) -> Diagnostic {
        let others: Vec<String> =
            self.places.iter().skip(1).map(|place| place.line.to_string()).collect();
        let also = match others.as_slice() {
            [] => String::new(),
            [line] => format!("; it also stands in line {line}"),
            lines => format!("; it also stands in the lines {}", lines.join(", ")),
        };
        Diagnostic {
            place: self.places.first().cloned(),
            ..Diagnostic::new(&*self.message).help(format!("{}{also}", self.help))
        }
    }

    /// In short, for a list of several.
    pub fn shown(&self) -> String {
        let lines: BTreeSet<usize> = self.places.iter().map(|place| place.line).collect();
        let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
        match lines.as_slice() {
            [] => format!("`{}`", self.name),
            [line] => format!("`{}` (line {line})", self.name),
            lines => format!("`{}` (lines {})", self.name, lines.join(", ")),
        }
    }
}

/// All variables without a value.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    names: BTreeMap<String, One>,
    places: BTreeMap<Mark, Place>,
}

#[derive(Clone, Debug)]
struct One {
    why: Why,
    sections: BTreeMap<Section, Vec<Mark>>,
}

/// How many places of a variable are told for a part of the pipeline.
const MOST_PLACES: usize = 20;

/// How many names are told. Nobody has more variables.
const MOST_NAMES: usize = 10_000;

impl Missing {
    /// Adds one, unless there are too many. `mark` is asked for its place only if that is told.
    pub fn add(
        &mut self,
        name: &str,
        why: impl FnOnce() -> Why,
        section: &Section,
        mark: impl FnOnce() -> Mark,
    ) -> Result<(), ()> {
        if !self.names.contains_key(name) {
            if self.names.len() >= MOST_NAMES {
                return Err(());
            }
            let one = One { why: why(), sections: BTreeMap::new() };
            self.names.insert(name.to_owned(), one);
        }
        let Some(one) = self.names.get_mut(name) else { return Ok(()) };
        if !one.sections.contains_key(section) {
            one.sections.insert(section.clone(), Vec::new());
        }
        if let Some(marks) = one.sections.get_mut(section)
            && marks.len() < MOST_PLACES
        {
            let mark = mark();
            if !marks.contains(&mark) {
                marks.push(mark);
            }
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Reads the lines of all places out of the document.
    pub fn locate(&mut self, path: &Path, text: &str) {
        let path = path.display().to_string();
        let lines: Vec<&str> = text.lines().collect();
        for mark in self.names.values().flat_map(|one| one.sections.values().flatten()) {
            let line = lines.get(mark.line.saturating_sub(1)).copied();
            let place = line.and_then(|line| {
                let mark = Mark { line: 1, ..*mark };
                Problem::new(mark, "").diagnostic(&path, line).place
            });
            if let Some(place) = place {
                self.places.insert(*mark, Place { line: mark.line, ..place });
            }
        }
    }

    /// Forgets what the jobs of a plan do not need. `jobs` are their places in the file.
    pub fn retain(&mut self, plan: &Plan, jobs: &[usize]) {
        let jobs: HashSet<usize> = jobs.iter().copied().collect();
        let mut used: HashSet<&str> = HashSet::new();
        for job in &plan.jobs {
            job.each_step(&mut |step| match &step.action {
                Action::Get(get) if plan.inputs.contains(&get.get) => {}
                Action::Get(get) => _ = used.insert(get.resource.as_deref().unwrap_or(&get.get)),
                Action::Put(put) => _ = used.insert(put.resource.as_deref().unwrap_or(&put.put)),
                _ => {}
            });
        }
        let resources = &plan.resources;
        let mut types: HashSet<&str> = resources
            .iter()
            .filter(|one| used.contains(one.name.as_str()))
            .map(|one| one.r#type.as_str())
            .collect();
        let mut open: Vec<&str> = types.iter().copied().collect();
        while let Some(name) = open.pop() {
            let found = plan.resource_types.iter().find(|one| one.name == name);
            open.extend(found.map(|one| one.r#type.as_str()).filter(|parent| types.insert(parent)));
        }
        self.names.retain(|_, one| {
            one.sections.retain(|section, _| match section {
                Section::Job(index) => jobs.contains(index),
                Section::Resource(index) => {
                    resources.get(*index).is_none_or(|one| used.contains(one.name.as_str()))
                }
                Section::ResourceType(index) => plan
                    .resource_types
                    .get(*index)
                    .is_none_or(|one| types.contains(one.name.as_str())),
                Section::Everywhere => true,
                Section::Nowhere => false,
            });
            !one.sections.is_empty()
        });
    }

    /// What is told about them, in the order of the document.
    pub fn vars(&self) -> Vec<MissingVar> {
        let mut found: Vec<(Mark, MissingVar)> =
            self.names.iter().map(|(name, one)| self.var(name, one)).collect();
        found.sort_by_key(|(mark, _)| *mark);
        found.into_iter().map(|(_, var)| var).collect()
    }

    fn var(&self, name: &str, one: &One) -> (Mark, MissingVar) {
        let marks: BTreeSet<Mark> = one.sections.values().flatten().copied().collect();
        let places = marks.iter().filter_map(|mark| self.places.get(mark)).cloned().collect();
        let (message, help) = match &one.why {
            Why::NotGiven => (
                format!("the variable `{name}` has no value"),
                format!(
                    "give it one with `--var {name}=…`, `--vars-file` or `--secret {name}`, or a default: \
                     `(({name} || …))`"
                ),
            ),
            Why::Source { kind } => (
                format!(
                    "the variable `{name}` comes from a source of the type `{kind}`, which is not read here"
                ),
                format!(
                    "give it a value with `--var {name}=…` or `--vars-file`, or declare the source with the type \
                     `dummy`, `env` or `file`"
                ),
            ),
            Why::NotNamed { variable } => (
                format!(
                    "the variable `{name}` is the environment's `{variable}`, which the command line does not name"
                ),
                format!(
                    "hand it over with `--secret {variable}`, or give it a value with `--var {variable}=…`"
                ),
            ),
            Why::UnknownSource { name: source, known } => (
                format!(
                    "the variable `{name}` names the source `{source}`, which `var_sources` does not have"
                ),
                match known.is_empty() {
                    true => format!("give it a value with `--var {name}=…`, or add the source"),
                    false => format!("`var_sources` has `{}`", known.join("`, `")),
                },
            ),
        };
        let first = marks.first().copied().unwrap_or_default();
        (first, MissingVar { name: name.to_owned(), places, help, message })
    }
}
