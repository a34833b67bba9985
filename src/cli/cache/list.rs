use clap::Args;
use futures_util::stream::{StreamExt, TryStreamExt, iter};

use super::archives::{Archive, describe_all, json, show};
use super::{AT_ONCE, Failure, StoreArgs, failed};
use crate::volume::describe;

/// Lists the archives of a cache. Those that another program put there are shown as foreign.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    store: StoreArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let archives = opened.archives().await?;
        // A listing does not tell who wrote an object.
        let looks = archives.into_iter().map(async |archive: Archive| {
            let found = describe(&*opened.store, &archive.info.key).await.map_err(failed)?;
            // It may have been removed meanwhile.
            Ok::<_, Failure>(found.map(|info| Archive { info, ..archive }))
        });
        let found: Vec<Option<Archive>> = iter(looks).buffered(AT_ONCE).try_collect().await?;
        let archives: Vec<Archive> = found.into_iter().flatten().collect();
        if self.json { json(&describe_all(&archives)) } else { show(&archives) }
    }
}
