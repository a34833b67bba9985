use clap::Args;
use deno_core::futures::stream::{StreamExt, TryStreamExt, iter};

use super::archives::{Archive, age, json, table};
use super::{Failure, StoreArgs, failed};
use crate::report::human_size;
use crate::volume::describe;

/// Lists the archives of a cache.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    store: StoreArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How many objects are looked at at the same time.
const AT_ONCE: usize = 16;

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
        if self.json {
            return json(&archives.iter().map(Archive::described).collect::<Vec<_>>());
        }
        let rows = archives.iter().map(|archive| {
            let writer = archive.info.metadata.writer.clone();
            [
                archive.shown.clone(),
                human_size(archive.info.size),
                age(archive.age()),
                writer.unwrap_or_else(|| "-".to_owned()),
            ]
        });
        table(["ARCHIVE", "SIZE", "AGE", "WRITER"], rows.collect())
    }
}
