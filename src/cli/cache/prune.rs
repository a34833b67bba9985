use std::time::Duration;

use clap::Args;

use super::archives::json;
use super::{Failure, RemovalArgs, StoreArgs, age_argument, failed};
use crate::report::counted;

/// Removes archives that nobody has written for a while, and what killed runs of this machine left. Shows them
/// before it asks.
#[derive(Args)]
pub struct Prune {
    /// How long, such as `30d` or `12h`
    #[arg(long, value_name = "DURATION", value_parser = age_argument)]
    older_than: Duration,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    how: RemovalArgs,

    /// Also remove archives that another program put there
    #[arg(long)]
    include_foreign: bool,
}

impl Prune {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let mut archives = opened.archives().await?;
        archives.retain(|archive| archive.age() >= self.older_than);
        let mut archives = opened.described(archives).await?;
        // One that was written between both looks is a new one.
        archives.retain(|archive| archive.age() >= self.older_than);
        let all = archives.len();
        if !self.include_foreign {
            archives.retain(|archive| !archive.is_foreign());
        }
        let foreign = all - archives.len();
        if foreign > 0 {
            let foreign = counted(foreign as u64, "foreign archive", "foreign archives");
            self.how.say(&format!(
                "{foreign} would stay, pass `--include-foreign` to remove what other programs wrote\n"
            ))?;
        }
        let left = opened.store.left_behind().await.map_err(failed)?;
        if left > 0 {
            let verb = if self.how.dry_run { "would remove" } else { "to be removed:" };
            self.how.say(&format!("{verb} {} of killed runs\n", unfinished(left)))?;
        }
        if archives.is_empty() {
            match self.how.json {
                true => json(&[(); 0])?,
                false => {
                    let age = humantime::format_duration(self.older_than);
                    self.how.say(&format!("nothing is older than {age}\n"))?;
                }
            }
            if left == 0 || self.how.dry_run || !self.how.agreed(&unfinished(left))? {
                return Ok(());
            }
        } else if !opened.remove(&archives, &self.how).await? {
            return Ok(());
        }
        match opened.store.sweep().await.map_err(failed)? {
            0 => Ok(()),
            swept => self.how.say(&format!("removed {} of killed runs\n", unfinished(swept))),
        }
    }
}

fn unfinished(count: u64) -> String {
    counted(count, "unfinished upload", "unfinished uploads")
}
