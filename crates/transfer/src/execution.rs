//! What carries a job out.

use archive::Budget;
use store::Objects;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::TransferError;
use super::report::TransferUpdate;
use super::volume::VolumeAccess;

/// What carries a job out.
#[derive(Clone)]
pub struct Execution<'a> {
    /// For operations that read or write objects.
    pub store: Option<&'a dyn Objects>,
    /// For operations that read or write a volume.
    pub volume: Option<&'a VolumeAccess>,
    /// Shared by all transfers of this process.
    pub budget: &'a Budget,
    /// Whoever wants to know how far the transfer is. Nobody who does not listen holds it up for long: what
    /// does not fit into the channel is left out, but for what is said once.
    pub updates: Option<mpsc::Sender<TransferUpdate>>,
    pub cancel: &'a CancellationToken,
}

impl<'a> Execution<'a> {
    pub(crate) fn store(&self) -> Result<&'a dyn Objects, TransferError> {
        self.store.ok_or_else(|| TransferError::Internal("the job needs a store".to_owned()))
    }

    pub(crate) fn volume(&self) -> Result<&'a VolumeAccess, TransferError> {
        self.volume.ok_or_else(|| TransferError::Internal("the job needs a volume".to_owned()))
    }

    pub(crate) async fn tell(&self, update: TransferUpdate) {
        if let Some(updates) = &self.updates {
            // Nobody may want to know any more.
            _ = updates.send(update).await;
        }
    }
}
