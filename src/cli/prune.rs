use clap::Args;

use super::run::dsn;
use super::{Failure, Problem, write_out};
use crate::driver;

/// Removes what killed runs left behind: containers, volumes, networks, directories.
///
/// Runs that are alive keep what they have, also those of other machines that use the same engine.
#[derive(Args)]
pub struct Prune {
    /// Where the runs were, as a DSN such as `docker` or `docker://namespace`. Without a namespace, of
    /// all namespaces
    // Neither the help nor an error of the parser may show what it holds.
    #[arg(
        long,
        value_name = "DSN",
        env = "CI_DRIVER",
        hide_env_values = true,
        default_value = "native"
    )]
    driver: String,
}

impl Prune {
    pub fn execute(self) -> Result<(), Failure> {
        let dsn = dsn(&self.driver)?;
        let unavailable =
            |message: String| Failure { problem: Problem::Message(message), exit_code: 3 };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| unavailable(format!("cannot start: {error}")))?;
        let pruned = runtime.block_on(driver::prune(&dsn.driver));
        match pruned.map_err(|error| unavailable(error.to_string()))? {
            pruned if pruned.is_empty() => write_out("nothing was left behind\n"),
            pruned => write_out(&format!("removed {pruned}\n")),
        }
    }
}
