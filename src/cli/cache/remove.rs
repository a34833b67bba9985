use clap::Args;

use super::{Failure, StoreArgs};

/// Removes archives.
#[derive(Args)]
pub struct Remove {
    /// Names of volumes, or of archives as `ls` shows them
    #[arg(required = true)]
    names: Vec<String>,

    #[command(flatten)]
    store: StoreArgs,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Remove {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let archives = opened.named(&self.names).await?;
        opened.remove(&archives, self.yes).await
    }
}
