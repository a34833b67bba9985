//! Concourse-style pipelines: a YAML document in, a checked plan or all of its problems out.
//!
//! The way of a document: [`read`] makes a tree whose nodes know their places, [`vars`] replaces
//! variables in it, [`decode`] makes a [`Plan`](plan::Plan) of it and [`check`] compares its parts.

mod artifacts;
mod check;
mod decode;
mod fields;
mod locals;
mod node;
mod plan;
mod problem;
mod read;
mod schema;
mod select;
mod suggest;
mod transpile;
mod vars;

use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use schema::schema;
pub use transpile::transpile;

use crate::diagnostic::Diagnostic;
use node::{Mark, Node};
pub use plan::Plan;
use problem::Problems;
use vars::Vars;

/// The longest document, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What the command line says about variables.
#[derive(Clone, Debug, Default)]
pub struct VarOptions {
    /// `name=value`, in order; the last one of a name counts.
    pub vars: Vec<(String, String)>,
    /// Files with a mapping of variables; a later file wins over an earlier one.
    pub files: Vec<PathBuf>,
}

/// Which part of a pipeline to run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// This job and what it waits for; all jobs otherwise.
    pub job: Option<String>,
    /// How many jobs, and how many tasks, may run at the same time.
    pub max_in_flight: Option<u32>,
}

/// A pipeline that can be run.
pub struct Checked {
    pub plan: Plan,
    pub notices: Vec<String>,
}

impl Checked {
    /// As the interpreter reads it: the plan, and for each job the names of those that it waits for.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(&self.plan).expect("a plan has only text as keys");
        for (job, plan) in
            self.plan.jobs.iter().zip(json["jobs"].as_array_mut().into_iter().flatten())
        {
            plan["passed"] = check::passed(job).into();
        }
        json
    }

    /// Keeps what the user asked for.
    pub fn select(&mut self, selection: &Selection) -> Result<(), Box<Diagnostic>> {
        select::select(&mut self.plan, selection)
    }

    /// Refuses a resource whose type is an image, for drivers that have none.
    pub fn without_images(&self) -> Result<(), Box<Diagnostic>> {
        select::built_in_types(&self.plan)
    }

    /// Refuses a resource whose type is no image, for drivers that have nothing else.
    pub fn with_images(&self) -> Result<(), Box<Diagnostic>> {
        select::image_types(&self.plan)
    }
}

/// Reads and checks a file.
pub fn load(given: &str, file: &Path, options: &VarOptions) -> Result<Checked, Vec<Diagnostic>> {
    let text = read_text(given, file)?;
    let vars = variables(options)?;
    parse(given, &text, &vars)
}

fn parse(given: &str, text: &str, vars: &Vars) -> Result<Checked, Vec<Diagnostic>> {
    let mut problems = Problems::default();
    let mut result = None;
    if let Some(root) = read::read(text, &mut problems) {
        // Most files have none, and copying a large tree is half of the time that it takes.
        let root = match text.contains("((") {
            true => vars::interpolate(&root, vars, &mut problems),
            false => root,
        };
        let decoded = decode::decode(&root, &mut problems);
        check::check(&root, &decoded.plan, &mut problems);
        result = Some(Checked { plan: decoded.plan, notices: decoded.notices });
    }
    match result {
        Some(checked) if problems.is_empty() => Ok(checked),
        _ => Err(problems.into_diagnostics(Path::new(given), text)),
    }
}

fn variables(options: &VarOptions) -> Result<Vars, Vec<Diagnostic>> {
    let mut vars = Vars::default();
    for (name, value) in options.vars.iter().rev() {
        vars.add(name.clone(), Rc::new(Node::new(Mark::default(), Node::plain(value))));
    }
    for file in options.files.iter().rev() {
        let given = file.display().to_string();
        let text = read_text(&given, file)?;
        let mut problems = Problems::default();
        if let Some(root) = read::read(&text, &mut problems)
            && let Err(problem) = vars.add_all(&root)
        {
            problems.add(problem);
        }
        if !problems.is_empty() {
            return Err(problems.into_diagnostics(file, &text));
        }
    }
    Ok(vars)
}

fn read_text(given: &str, file: &Path) -> Result<String, Vec<Diagnostic>> {
    let failed = |message: String| vec![Diagnostic::new(message)];
    let size = std::fs::metadata(file)
        .map_err(|error| failed(format!("cannot read `{given}`: {error}")))?
        .len();
    if size > LONGEST {
        return Err(vec![
            Diagnostic::new(format!("`{given}` has {size} bytes, more than {LONGEST}"))
                .help("keep data out of the pipeline's file: a task can read it"),
        ]);
    }
    std::fs::read_to_string(file).map_err(|error| failed(format!("cannot read `{given}`: {error}")))
}

#[cfg(test)]
mod tests;
