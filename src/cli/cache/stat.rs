use clap::Args;

use super::archives::{Archive, age, json, moment};
use super::{Failure, StoreArgs, failed, print};
use crate::report::{counted, human_size};
use crate::volume::describe;
use store::printable;

/// Shows what is known of archives.
#[derive(Args)]
pub struct Stat {
    /// Names of volumes, or of archives as `ls` shows them
    #[arg(required = true)]
    names: Vec<String>,

    #[command(flatten)]
    store: StoreArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Stat {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let mut archives = Vec::new();
        for archive in opened.named(&self.names).await? {
            let found = describe(&*opened.store, &archive.info.key).await.map_err(failed)?;
            archives.extend(found.map(|info| Archive { info, ..archive }));
        }
        if self.json {
            return json(&archives.iter().map(Archive::described).collect::<Vec<_>>());
        }
        for archive in &archives {
            let metadata = &archive.info.metadata;
            let unknown = || "unknown".to_owned();
            let entries = |count| counted(count, "entry", "entries");
            print(&format!(
                "{}\n  size      {}\n  content   {} in {}\n  modified  {} ({} ago)\n  used      {}\n  \
                 writer    {}\n  project   {}\n  digest    {}\n",
                printable(archive.info.key.as_str()),
                human_size(archive.info.size),
                metadata.content_bytes.map_or_else(unknown, human_size),
                metadata.entries.map_or_else(|| "an unknown number of entries".to_owned(), entries),
                moment(archive.info.modified),
                age(archive.age()),
                archive.info.used.map_or_else(unknown, moment),
                archive.writer(),
                metadata.project.as_deref().map_or_else(unknown, printable),
                metadata.digest.as_deref().map_or_else(unknown, printable),
            ))?;
        }
        Ok(())
    }
}
