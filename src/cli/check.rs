use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use diagnostic::Diagnostic;
use serde_json::json;

use super::secrets::SecretArgs;
use super::vars::VarArgs;
use super::{Failure, Problem, write_out};
use crate::pipeline::{self, Language};
use crate::process::masking;
use crate::report::json_text;
use crate::script::{self, ScriptError};

/// Checks a pipeline without running it.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
    0  the pipeline can be run
    2  the command line or the pipeline's file is wrong")]
pub struct Check {
    /// The pipeline's file; `-` for YAML on the standard input
    file: PathBuf,

    /// Print the problems as JSON
    #[arg(long)]
    json: bool,

    /// Fail if a `((variable))` of a YAML pipeline has no value, as `ci run` does
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    vars: VarArgs,

    #[command(flatten)]
    secrets: SecretArgs,
}

impl Check {
    /// The variables that hold secrets.
    pub fn secret_variables(&self) -> Vec<String> {
        self.secrets.variables()
    }

    pub fn execute(self) -> Result<(), Failure> {
        let result = self.check();
        if !self.json {
            return result.map(|Remarks { warnings, notices }| super::remark(warnings, &notices));
        }
        let (told, remarks, result) = match result {
            Ok(remarks) => (Vec::new(), remarks, Ok(())),
            Err(Failure { problem, exit_code }) => {
                let failure = Failure { problem: Problem::Told, exit_code };
                (problems(problem), Remarks::default(), Err(failure))
            }
        };
        let file = self.file.display().to_string();
        let warnings: Vec<_> = remarks.warnings.iter().map(describe).collect();
        let report = json!({
            "file": file,
            "ok": result.is_ok(),
            "problems": told,
            "warnings": warnings,
            "notices": remarks.notices,
        });
        // What is wrong with the file decides how this ends, not who reads about it.
        let written = write_out(&masking::text(&format!("{}\n", json_text(&report))));
        result.and(written)
    }

    fn check(&self) -> Result<Remarks, Failure> {
        let source = pipeline::locate(&self.file).map_err(Failure::invalid)?;
        let secrets = self.secrets.load()?;
        match source.language {
            Language::Yaml => {
                let checked = self.vars.load(&source, &[], &secrets, None)?;
                if self.strict {
                    checked.require_vars().map_err(Failure::diagnostics)?;
                }
                let missing = checked.missing_notice();
                let notices = checked.notices.into_iter().chain(missing).collect();
                Ok(Remarks { warnings: checked.warnings, notices })
            }
            Language::Script => {
                script::check(&source.file).map(|_| Remarks::default()).map_err(|error| match error
                {
                    ScriptError::Invalid(diagnostic) | ScriptError::Failed(diagnostic) => {
                        Failure::invalid(diagnostic)
                    }
                    ScriptError::Terminated => {
                        Failure { problem: Problem::Other(anyhow!("{error}")), exit_code: 2 }
                    }
                })
            }
        }
    }
}

/// What there is to say about a pipeline that can be run.
#[derive(Default)]
struct Remarks {
    warnings: Vec<Diagnostic>,
    notices: Vec<String>,
}

fn problems(problem: Problem) -> Vec<serde_json::Value> {
    match problem {
        Problem::Diagnostic(diagnostic) => vec![describe(&diagnostic)],
        Problem::Diagnostics(diagnostics) => diagnostics.iter().map(describe).collect(),
        Problem::Other(error) => vec![json!({ "message": format!("{error:#}") })],
        Problem::Told => Vec::new(),
    }
}

/// Lines and columns are counted from 1, columns in UTF-16 code units.
fn describe(diagnostic: &Diagnostic) -> serde_json::Value {
    let place = diagnostic.place.as_ref();
    json!({
        "message": diagnostic.message,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "snippet": place.map(|place| &place.text),
        "help": diagnostic.help,
    })
}
