use clap::Args;

use super::{Failure, RemovalArgs, StoreArgs, wrong};
use store::printable;

/// Removes archives.
#[derive(Args)]
pub struct Remove {
    /// Names of volumes, or of archives as `ls` shows them
    #[arg(required = true)]
    names: Vec<String>,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    how: RemovalArgs,

    /// Also remove what another program put there
    #[arg(long)]
    include_foreign: bool,
}

impl Remove {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let archives = opened.named(&self.names).await?;
        let archives = opened.described(archives).await?;
        let foreign = archives.iter().find(|archive| archive.is_foreign());
        if let Some(foreign) = foreign.filter(|_| !self.include_foreign) {
            return Err(wrong(format!(
                "nothing says that `ci` wrote `{}`: pass `--include-foreign` to remove it all the same",
                printable(foreign.info.key.as_str())
            )));
        }
        opened.remove(&archives, &self.how).await.map(drop)
    }
}
