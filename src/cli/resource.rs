use std::io::{stderr, stdin, stdout};
use std::path::PathBuf;

use anyhow::Error;
use clap::Args;
use resources::Action;

use super::{Failure, Problem};

/// Carries out an action of a built-in resource type, as `/opt/resource` of an image does: reads the request from the
/// standard input and writes the answer to the standard output.
#[derive(Args)]
pub struct Resource {
    /// The type, such as `git`
    kind: String,

    /// What to do: `check`, `in` or `out`
    action: Action,

    /// What to fill, or where the artifacts are
    directory: Option<PathBuf>,
}

impl Resource {
    pub fn execute(self) -> Result<(), Failure> {
        let Self { kind, action, directory } = self;
        let (request, answer, log) = (&mut stdin().lock(), &mut stdout().lock(), &mut stderr());
        resources::execute(&kind, action, directory.as_deref(), request, answer, log)
            .map_err(|error| Failure { problem: Problem::Other(Error::new(error)), exit_code: 1 })
    }
}
