use anyhow::Error;
use clap::Args;

use super::run::dsn;
use super::{Failure, Problem, write_out};
use crate::project;

/// Removes what killed runs left behind: containers, volumes, networks, directories.
///
/// Copies of projects go too, which runs keep so that the next one copies only what has changed.
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
        let unavailable = |message: String| Failure {
            problem: Problem::Other(Error::msg(message)),
            exit_code: 3,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| unavailable(format!("cannot start: {error}")))?;
        let pruned = runtime.block_on(dsn.driver.prune());
        // A name server that does not answer holds up a thread.
        runtime.shutdown_background();
        let pruned = pruned.map_err(|error| unavailable(error.to_string()))?;
        let copies = match project::prune() {
            0 => String::new(),
            1 => "removed 1 copy of a project\n".to_owned(),
            count => format!("removed {count} copies of projects\n"),
        };
        let removed = match pruned.is_empty() {
            true if pruned.waiting > 0 || !copies.is_empty() => copies,
            true => "nothing was left behind\n".to_owned(),
            false => format!("removed {pruned}\n{copies}"),
        };
        let waiting = match pruned.waiting {
            0 => String::new(),
            1 => "kept what 1 run has made whose lease is gone; unless it shows that it is alive, \
                  `ci prune` removes that in a few minutes\n"
                .to_owned(),
            count => format!(
                "kept what {count} runs have made whose leases are gone; unless they show that they \
                 are alive, `ci prune` removes that in a few minutes\n"
            ),
        };
        write_out(&format!("{removed}{waiting}"))
    }
}
