//! From a file to a checked plan.

use std::path::Path;
use std::rc::Rc;

use crate::decode::{self, FIELDS};
use crate::interpolate::Interpolation;
use crate::missing::Missing;
use crate::node::{Mark, Node, Value};
use crate::only::only;
use crate::plan::Action;
use crate::problem::Problems;
use crate::templates::Template;
use crate::vars::Vars;
use crate::{Checked, Document, STDIN, VarOptions, check, foreign, input, read, sources};
use diagnostic::Diagnostic;

/// Reads and checks a pipeline. Variables without a value are no errors of the file: see
/// [`Checked::require_vars`].
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
    let directory = match document {
        Document::Stdin => Path::new("."),
        Document::File { path, .. } => path.parent().unwrap_or(path),
    };
    let document = Text { given, text: &text, directory: Some(directory) };
    parse(document, variables(options)?, &options.inputs, options.job.as_deref())
}

/// Checks the text of a pipeline, as a `set_pipeline` step does with a file of an artifact. `values` are mappings of
/// variables as YAML or JSON, each with its name for messages; the first one that has a variable wins. The pipeline
/// is a stranger's: its `var_sources` read neither files nor the environment.
pub fn check_text(
    given: &str,
    text: &str,
    values: &[(&str, &str)],
) -> Result<Checked, Vec<Diagnostic>> {
    let mut vars = Vars::default();
    for (name, text) in values {
        add_all(&mut vars, name, text)?;
    }
    parse(Text { given, text, directory: None }, vars, &[], None)
}

/// The text of a pipeline, and where its file is, if it may look beside it.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub given: &'a str,
    pub text: &'a str,
    pub directory: Option<&'a Path>,
}

/// What is wrong with jobs that `job` does not need is no error, if it is given.
pub fn parse(
    document: Text<'_>,
    vars: Vars,
    inputs: &[String],
    job: Option<&str>,
) -> Result<Checked, Vec<Diagnostic>> {
    let Text { given, text, .. } = document;
    let path = Path::new(given);
    let mut problems = Problems::default();
    let Some(root) = read::read(text, &mut problems) else {
        if let Some(template) = Template::of(text, None) {
            return Err(vec![template.error(given)]);
        }
        return Err(problems.into_diagnostics(path, text));
    };
    if let Some(kind) = foreign::kind(&root) {
        let help = "`ci` runs Concourse-style YAML: a list of `jobs`, each with a `name` and a `plan`; \
                    `docs/yaml.md` describes it";
        return Err(vec![Diagnostic::new(format!("`{given}` is {kind}")).help(help)]);
    }
    let Refused { diagnostics, replaced } =
        match checked(document, &root, vars.clone(), inputs, problems.clone()) {
            Ok(checked) => return Ok(checked),
            Err(refused) => refused,
        };
    match job.and_then(|job| only(&root, &replaced, job)) {
        Some(part) => checked(document, &part, vars, inputs, problems)
            .map_err(|Refused { diagnostics, .. }| diagnostics),
        None => Err(diagnostics),
    }
}

/// What is wrong with a document, and the document with its variables replaced.
struct Refused {
    diagnostics: Vec<Diagnostic>,
    replaced: Rc<Node>,
}

fn checked(
    document: Text<'_>,
    root: &Rc<Node>,
    mut vars: Vars,
    inputs: &[String],
    mut problems: Problems,
) -> Result<Checked, Refused> {
    let Text { given, text, directory } = document;
    let path = Path::new(given);
    let mut missing = Missing::default();
    if let Some(node) = root.get("var_sources") {
        sources::read_sources(node, text, directory, &mut vars, &mut missing, &mut problems);
    }
    // Most files have none, and copying a large tree is half of the time that it takes.
    let replaced = match text.contains("((") {
        true => {
            Interpolation::new(text, &vars, &mut missing, &mut problems).pipeline(root, &FIELDS)
        }
        false => root.clone(),
    };
    let mut plan = decode::decode(&replaced, &mut problems);
    check::check(&replaced, &mut plan, inputs, &mut problems);
    let template = Template::of(text, Some(root));
    if !problems.is_empty() {
        let diagnostics = match template {
            Some(template) => vec![template.error(given)],
            None => problems.into_diagnostics(path, text),
        };
        return Err(Refused { diagnostics, replaced });
    }
    if let Some(template) = template {
        problems.notice(template.notice());
    }
    let mut has_files = false;
    for job in &plan.jobs {
        job.each_step(&mut |step| {
            has_files |= matches!(&step.action, Action::Task(task) if task.file.is_some());
        });
    }
    if has_files {
        plan.vars = vars.to_json();
    }
    missing.locate(path, text);
    let (warnings, notices) = problems.into_remarks(path, text);
    let jobs = (0..plan.jobs.len()).collect();
    Ok(Checked { plan, notices, warnings, missing, jobs })
}

pub fn variables(options: &VarOptions) -> Result<Vars, Vec<Diagnostic>> {
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
        add_all(&mut vars, &given, &text)?;
    }
    for (name, value) in &options.secrets {
        let node = Node::new(Mark::default(), Value::Text(value.clone()));
        vars.add(name.clone(), Rc::new(node));
    }
    Ok(vars)
}

/// Adds the mapping of variables that a text holds.
fn add_all(vars: &mut Vars, given: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
    let mut problems = Problems::default();
    if let Some(root) = read::read(text, &mut problems)
        && let Err(problem) = vars.add_all(&root)
    {
        problems.add(problem);
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.into_diagnostics(Path::new(given), text)),
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == STDIN
}
