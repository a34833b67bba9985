//! Concourse-style pipelines: a YAML document in, a checked plan or all of its problems out.
//!
//! What Concourse 8.3 accepts is accepted, and means the same: its parser and its validator are the reference
//! (`atc/config.go`, `atc/steps.go`, `atc/task.go`, `atc/step_validator.go`, `atc/configvalidate/`, `vars/` at
//! <https://github.com/concourse/concourse>). What Concourse refuses and we do not is a warning.
//!
//! The way of a document: [`read`] makes a tree whose nodes know their places, [`interpolate`] replaces
//! variables in it, [`decode`] makes a [`Plan`](plan::Plan) of it and [`check`] compares its parts.

mod artifacts;
mod check;
mod decode;
mod fields;
mod foreign;
mod glob;
mod input;
mod interpolate;
pub mod json;
mod load;
mod locals;
mod missing;
mod names;
mod node;
mod only;
mod own_remote;
mod places;
pub mod plan;
mod problem;
mod read;
mod reference;
mod runs;
mod schema;
mod select;
mod sources;
mod spelling;
mod suggest;
mod templates;
mod usage;
mod vars;

use std::path::{Path, PathBuf};

pub use load::{check_text, load};
pub use missing::MissingVar;
pub use schema::schema;

use diagnostic::Diagnostic;
use missing::Missing;
use node::Mark;
use plan::Plan;
use problem::Problems;

/// How the command line names the standard input.
pub const STDIN: &str = "-";

/// What the command line gives to a pipeline.
#[derive(Clone, Debug, Default)]
pub struct VarOptions {
    /// `name=value`, in order; the last one of a name counts.
    pub vars: Vec<(String, String)>,
    /// Files with a mapping of variables, `-` for the standard input; a later file wins over an earlier
    /// one.
    pub files: Vec<PathBuf>,
    /// Artifacts that are directories of this machine.
    pub inputs: Vec<String>,
    /// Values of variables that have none otherwise.
    pub secrets: Vec<(String, String)>,
    /// The job that is to run. What is wrong with others that it does not wait for is no error.
    pub job: Option<String>,
}

/// Which part of a pipeline to run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// This job and what it waits for; all jobs otherwise.
    pub job: Option<String>,
    /// How many jobs, and how many tasks, may run at the same time.
    pub max_in_flight: Option<u32>,
    /// Artifacts that are directories of this machine.
    pub inputs: Vec<String>,
    /// Artifacts that are written to this machine.
    pub outputs: Vec<String>,
}

/// A pipeline without errors. It can be run if its variables have values.
#[derive(Debug)]
pub struct Checked {
    pub plan: Plan,
    /// What has no meaning here, and what else a user of Concourse should know.
    pub notices: Vec<String>,
    /// What Concourse would refuse, and what is probably a mistake. The pipeline can be run all the same.
    pub warnings: Vec<Diagnostic>,
    missing: Missing,
    /// The places of the plan's jobs in the file.
    jobs: Vec<usize>,
}

impl Checked {
    /// As the interpreter reads it; or an error for each variable that has no value and that the jobs of the plan
    /// need. A plan without their values is nothing to run.
    pub fn to_json(&self) -> Result<String, Vec<Diagnostic>> {
        self.require_vars()?;
        Ok(serde_json::to_string(&self.plan).expect("a plan has only text as keys"))
    }

    /// The variables that have no value, each name once. After [`select`](Self::select) those that the selected jobs
    /// need.
    pub fn missing_vars(&self) -> Vec<MissingVar> {
        self.missing.vars()
    }

    /// An error for each variable without a value.
    pub fn require_vars(&self) -> Result<(), Vec<Diagnostic>> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(self.missing.vars().iter().map(MissingVar::diagnostic).collect())
    }

    /// The variables without a value as one notice, if there are any: a check passes without them.
    pub fn missing_notice(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        let vars = self.missing.vars();
        let shown: Vec<String> = vars.iter().take(50).map(MissingVar::shown).collect();
        let more = match vars.len().saturating_sub(shown.len()) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Some(format!("variables without a value, which `ci run` needs: {}{more}", shown.join(", ")))
    }

    /// Keeps what the user asked for.
    pub fn select(&mut self, selection: &Selection) -> Result<(), Box<Diagnostic>> {
        select::select(&mut self.plan, &mut self.jobs, selection)?;
        self.missing.retain(&self.plan, &self.jobs);
        Ok(())
    }

    /// Tells which `get` steps fetch the project that the pipeline is a part of, by the name of its remote.
    pub fn notice_own_remote(&mut self, remote: Option<&str>, root: &Path) {
        self.notices.extend(
            remote.into_iter().flat_map(|remote| own_remote::notices(&self.plan, remote, root)),
        );
    }

    /// Refuses a repository whose address has a secret, for drivers on which git runs on this machine. `within`
    /// names the secret that a text has.
    pub fn without_secret_addresses<'a>(
        &self,
        within: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<(), Box<Diagnostic>> {
        select::secret_addresses(&self.plan, within)
    }

    /// Refuses a resource whose type is an image, for drivers that have none but these types.
    pub fn without_images(&self, built_in: &[&str]) -> Result<(), Box<Diagnostic>> {
        select::built_in_types(&self.plan, built_in)
    }

    /// Refuses a resource whose type is no image, for drivers that have nothing else.
    pub fn with_images(&self) -> Result<(), Box<Diagnostic>> {
        select::image_types(&self.plan)
    }
}

/// Where a pipeline is written.
#[derive(Clone, Copy, Debug)]
pub enum Document<'a> {
    Stdin,
    /// A file, and what the user calls it.
    File {
        given: &'a str,
        path: &'a Path,
    },
}

/// A document as JSON text, with all digits of its numbers; or what is wrong with it.
pub fn to_json(text: &str) -> Result<String, String> {
    let mut problems = Problems::default();
    let root = read::read(text, &mut problems);
    match (problems.first(), root) {
        (Some(problem), _) => {
            let Mark { line, column } = problem.mark;
            let message = problem.message.trim_start_matches("not YAML: ");
            Err(format!("{message} at line {line}, column {column}"))
        }
        (None, root) => {
            Ok(root.map_or_else(|| "null".to_owned(), |root| root.to_json().to_string()))
        }
    }
}

#[cfg(test)]
mod tests;
