use std::path::PathBuf;

use clap::Args;
use diagnostic::Diagnostic;

use super::Failure;
use crate::process::masking;
use crate::secret::{self, Secrets};

/// Secrets that the pipeline may hand to its tasks.
#[derive(Args, Clone, Default)]
pub struct SecretArgs {
    /// A secret that the pipeline may hand to its tasks, and that is masked in all output: the value of the
    /// variable of this name, or of the source that follows it, as in `NAME=env:VARIABLE` or
    /// `NAME=file:PATH`; may be given several times
    // Checked later: an error of the parser would repeat a value that somebody wrote here.
    #[arg(long, value_name = "NAME[=SOURCE]")]
    secret: Vec<String>,

    /// A file of secrets, one `NAME=value` a line as in `.env` files; may be given several times, `--secret`
    /// wins
    #[arg(long, value_name = "FILE")]
    secrets_file: Vec<PathBuf>,
}

impl SecretArgs {
    /// The variables that hold secrets.
    pub fn variables(&self) -> Vec<String> {
        secret::variables(&self.secret)
    }

    pub fn is_empty(&self) -> bool {
        self.secret.is_empty() && self.secrets_file.is_empty()
    }

    /// Reads the secrets. From then on they are masked wherever something is shown.
    pub fn load(&self) -> Result<Secrets, Failure> {
        let secrets = Secrets::read(&self.secret, &self.secrets_file).map_err(|error| {
            let diagnostic = Diagnostic::new(error.to_string()).help(error.help());
            Failure::invalid(Box::new(diagnostic))
        })?;
        let values = secrets.iter().map(|(name, value)| (name.to_owned(), value.clone()));
        masking::add(values);
        Ok(secrets)
    }
}
