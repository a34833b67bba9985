use std::time::Duration;

use clap::Args;

use super::{Failure, StoreArgs, failed, print};
use crate::report::counted;

/// Removes archives that nobody has written for a while, and what killed writers left.
#[derive(Args)]
pub struct Prune {
    /// How long, such as `30d` or `12h`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Duration,

    #[command(flatten)]
    store: StoreArgs,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Prune {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let swept = opened.store.sweep().await.map_err(failed)?;
        if swept > 0 {
            let uploads = counted(swept, "unfinished upload", "unfinished uploads");
            print(&format!("removed {uploads}\n"))?;
        }
        let mut archives = opened.archives().await?;
        archives.retain(|archive| archive.age() >= self.older_than);
        if archives.is_empty() {
            let age = humantime::format_duration(self.older_than);
            return print(&format!("nothing is older than {age}\n"));
        }
        opened.remove(&archives, self.yes).await
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a duration such as `30d` or `12h`".to_owned())
}
