use std::path::PathBuf;

use clap::Args;
use diagnostic::Diagnostic;

use super::vars::VarArgs;
use super::{Failure, write_out};
use crate::pipeline::{self, Language};
use crate::secret::Secrets;

/// Prints a YAML pipeline as a TypeScript pipeline that does the same.
#[derive(Args)]
pub struct Transpile {
    /// The pipeline's file: .yml or .yaml; `-` for the standard input
    file: PathBuf,

    #[command(flatten)]
    vars: VarArgs,
}

impl Transpile {
    pub fn execute(self) -> Result<(), Failure> {
        let source = pipeline::locate(&self.file).map_err(Failure::invalid)?;
        if source.language != Language::Yaml {
            let message = format!("`{}` is a script already", source.given);
            return Err(Failure::invalid(Box::new(
                Diagnostic::new(message).help("name a .yml or .yaml file"),
            )));
        }
        let checked = self.vars.load(&source, &[], &Secrets::default(), None)?;
        checked.require_vars().map_err(Failure::diagnostics)?;
        write_out(&pipeline::transpile(&checked.plan, &source.given))
    }
}
