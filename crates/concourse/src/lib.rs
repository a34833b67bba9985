//! Concourse-style pipelines: a YAML document in, a checked plan or all of its problems out.
//!
//! The way of a document: [`read`] makes a tree whose nodes know their places, [`vars`] replaces
//! variables in it, [`decode`] makes a [`Plan`](plan::Plan) of it and [`check`] compares its parts.

mod artifacts;
mod check;
mod decode;
mod fields;
mod foreign;
mod input;
pub mod json;
mod locals;
mod node;
mod own_remote;
pub mod plan;
mod problem;
mod read;
mod reference;
mod runs;
mod schema;
mod select;
mod spelling;
mod suggest;
mod vars;

use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use schema::schema;

use diagnostic::Diagnostic;
use node::{Mark, Node, Value};
use plan::Plan;
use problem::Problems;
use vars::Vars;

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

/// A pipeline that can be run.
pub struct Checked {
    pub plan: Plan,
    pub notices: Vec<String>,
}

impl Checked {
    /// As the interpreter reads it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.plan).expect("a plan has only text as keys")
    }

    /// Keeps what the user asked for.
    pub fn select(&mut self, selection: &Selection) -> Result<(), Box<Diagnostic>> {
        select::select(&mut self.plan, selection)
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

    /// Refuses a resource whose type is an image, for drivers that have none.
    pub fn without_images(&self) -> Result<(), Box<Diagnostic>> {
        select::built_in_types(&self.plan)
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

/// Reads and checks a pipeline.
pub fn load(document: Document<'_>, options: &VarOptions) -> Result<Checked, Vec<Diagnostic>> {
    let inputs = options.files.iter().filter(|file| is_stdin(file)).count();
    if inputs > usize::from(!matches!(document, Document::Stdin)) {
        return Err(vec![
            Diagnostic::new("the standard input is named by more than one `-`")
                .help("it can only be read once: give the others as files"),
        ]);
    }
    let (given, text) = match document {
        Document::Stdin => (input::STDIN, input::read_stdin()?),
        Document::File { given, path } => (given, input::read(given, path)?),
    };
    let vars = variables(options)?;
    parse(given, &text, &vars, &options.inputs)
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

fn parse(
    given: &str,
    text: &str,
    vars: &Vars,
    inputs: &[String],
) -> Result<Checked, Vec<Diagnostic>> {
    let mut problems = Problems::default();
    let mut result = None;
    if let Some(root) = read::read(text, &mut problems) {
        if let Some(kind) = foreign::kind(&root) {
            let help = "`ci` runs Concourse-style YAML: a list of `jobs`, each with a `name` and a `plan`; \
                        `docs/yaml.md` describes it";
            return Err(vec![Diagnostic::new(format!("`{given}` is {kind}")).help(help)]);
        }
        // Most files have none, and copying a large tree is half of the time that it takes.
        let root = match text.contains("((") {
            true => vars::interpolate(&root, vars, &mut problems),
            false => root,
        };
        let mut decoded = decode::decode(&root, &mut problems);
        check::check(&root, &decoded.plan, inputs, &mut problems);
        for job in &mut decoded.plan.jobs {
            job.passed = check::passed(job).into_iter().map(str::to_owned).collect();
        }
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
        let (given, text) = match is_stdin(file) {
            true => (input::STDIN.to_owned(), input::read_stdin()?),
            false => {
                let given = file.display().to_string();
                let text = input::read(&given, file)?;
                (given, text)
            }
        };
        let mut problems = Problems::default();
        if let Some(root) = read::read(&text, &mut problems)
            && let Err(problem) = vars.add_all(&root)
        {
            problems.add(problem);
        }
        if !problems.is_empty() {
            return Err(problems.into_diagnostics(Path::new(&given), &text));
        }
    }
    for (name, value) in &options.secrets {
        let node = Node::new(Mark::default(), Value::Text(value.clone()));
        vars.add(name.clone(), Rc::new(node));
    }
    Ok(vars)
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == STDIN
}

#[cfg(test)]
mod tests;
