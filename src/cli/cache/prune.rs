use std::collections::HashSet;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{ArgGroup, Args};

use super::archives::{Archive, json};
use super::{Failure, RemovalArgs, StoreArgs, age_argument, cache_args, failed};
use crate::report::{counted, human_size};
use store::{CacheKey, ObjectInfo, least_recently_used};

/// Removes archives that nobody has written for a while or that there is no room for, and what killed runs of
/// this machine left. Shows them before it asks.
#[derive(Args)]
#[command(group(ArgGroup::new("which").args(["older_than", "max_size"]).required(true).multiple(true)))]
pub struct Prune {
    /// Those that were not written for so long, such as `30d` or `12h`
    #[arg(long, value_name = "DURATION", value_parser = age_argument)]
    older_than: Option<Duration>,

    /// Of the rest, those that were not used for longest, until all have this size, such as `20GiB`; a bucket
    /// does not tell a use, and there it is the time of writing that counts
    #[arg(long, value_name = "SIZE", value_parser = cache_args::size)]
    max_size: Option<ByteSize>,

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
        if self.max_size.is_none() {
            archives.retain(|archive| self.is_old(archive));
        }
        let mut archives = opened.described(archives).await?;
        // One that was written between both looks is a new one.
        let is_pruned = |archive: &Archive| self.is_old(archive) || self.max_size.is_some();
        archives.retain(is_pruned);
        let all = archives.len();
        if !self.include_foreign {
            archives.retain(|archive| !archive.is_foreign());
        }
        let foreign = all - archives.len();
        let archives = self.pruned(archives);
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
                false => self.how.say(&self.nothing())?,
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

impl Prune {
    fn is_old(&self, archive: &Archive) -> bool {
        self.older_than.is_some_and(|age| archive.age() >= age)
    }

    /// Those that are too old, and of the rest those that there is no room for.
    fn pruned(&self, archives: Vec<Archive>) -> Vec<Archive> {
        let Some(size) = self.max_size else { return archives };
        let infos: Vec<ObjectInfo> = archives
            .iter()
            .filter(|archive| !self.is_old(archive))
            .map(|archive| archive.info.clone())
            .collect();
        let going = least_recently_used(&infos, size.as_u64(), |_| false);
        let going: HashSet<&CacheKey> = going.into_iter().map(|info| &info.key).collect();
        let is_going =
            |archive: &Archive| self.is_old(archive) || going.contains(&archive.info.key);
        archives.into_iter().filter(is_going).collect()
    }

    /// Said when there is nothing to remove.
    fn nothing(&self) -> String {
        let age =
            self.older_than.map(|age| format!("older than {}", humantime::format_duration(age)));
        let size = self.max_size.map(|size| format!("above {}", human_size(size.as_u64())));
        let reasons: Vec<String> = [age, size].into_iter().flatten().collect();
        format!("nothing is {}\n", reasons.join(" or "))
    }
}

fn unfinished(count: u64) -> String {
    counted(count, "unfinished upload", "unfinished uploads")
}
