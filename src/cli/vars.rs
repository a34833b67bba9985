use std::path::PathBuf;

use clap::Args;
use concourse::{Checked, VarOptions};

use super::Failure;
use crate::pipeline::Source;
use crate::secret::{Secrets, as_text};

/// Values of `((vars))`.
#[derive(Args, Clone)]
pub struct VarArgs {
    /// The value of a `((variable))` of a YAML pipeline; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    vars: Vec<(String, String)>,

    /// A YAML file with values of `((variables))`, `-` for the standard input; may be repeated, `--var`
    /// wins
    #[arg(long = "vars-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl VarArgs {
    pub fn is_given(&self) -> bool {
        !self.vars.is_empty() || !self.files.is_empty()
    }

    /// Reads and checks a YAML pipeline with these values, and with secrets where there are none. `inputs` are
    /// artifacts that the command line gives, and `job` is the one that is to run.
    pub fn load(
        &self,
        source: &Source,
        inputs: &[String],
        secrets: &Secrets,
        job: Option<&str>,
    ) -> Result<Checked, Failure> {
        let (vars, files) = (self.vars.clone(), self.files.clone());
        // A secret that is no text stands in no document. It is missed where somebody refers to it.
        let text = |(name, value): (&str, _)| Some((name.to_owned(), as_text(value)?.to_owned()));
        let (inputs, secrets) = (inputs.to_vec(), secrets.iter().filter_map(text).collect());
        let job = job.map(str::to_owned);
        let options = VarOptions { vars, files, inputs, secrets, job };
        concourse::load(source.document(), &options).map_err(Failure::diagnostics)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected `name=value`".to_owned()),
    }
}
