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
        match archives.is_empty() {
            true if self.how.json => json(&[(); 0])?,
            true => {
                let age = humantime::format_duration(self.older_than);
                self.how.say(&format!("nothing is older than {age}\n"))?;
            }
            false => opened.remove(&archives, &self.how).await?,
        }
        self.sweep(&*opened.store).await
    }

    /// Clears up after killed runs of this machine, of which nobody has to be asked: nobody else can use
    /// what they left.
    async fn sweep(&self, store: &dyn crate::cache::CacheStore) -> Result<(), Failure> {
        let text = |count| counted(count, "unfinished upload", "unfinished uploads");
        let (verb, count) = match self.how.dry_run {
            true => ("would remove", store.left_behind().await.map_err(failed)?),
            false => ("removed", store.sweep().await.map_err(failed)?),
        };
        match count {
            0 => Ok(()),
            count => self.how.say(&format!("{verb} {} of killed runs\n", text(count))),
        }
    }
}
