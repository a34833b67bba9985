//! The one mechanism that moves a volume's content.

use std::pin::pin;
use std::time::Duration;

use archive::Budget;
use store::Objects;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span};

use super::streams::Moved;
use super::{
    Operation, TransferError, TransferJob, TransferReport, TransferUpdate, VolumeAccess, persist,
    restore,
};

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

/// How often the number of moved bytes is reported.
const PACE: Duration = Duration::from_millis(500);

/// Moves what the job says.
///
/// Ends by success, by an error, by the job's deadlines or by the cancellation. After an error a volume that
/// was to be filled is empty, and an object that was to be replaced is as it was.
pub async fn execute(
    job: &TransferJob,
    execution: Execution<'_>,
) -> Result<TransferReport, TransferError> {
    let (operation, key) = job.operation.name_and_key();
    let span = debug_span!("transfer", operation, key = key.map(tracing::field::display));
    follow(job, &execution).instrument(span).await
}

async fn follow(
    job: &TransferJob,
    execution: &Execution<'_>,
) -> Result<TransferReport, TransferError> {
    let moved = Moved::default();
    debug!(deadlines = ?job.deadlines, "begins");
    let mut work = pin!(dispatch(job, execution, &moved));
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                match &done {
                    Ok(report) => {
                        debug!(bytes = report.bytes, content = report.content_bytes, "ends");
                    }
                    Err(error) => debug!(%error, moved = moved.bytes(), "fails"),
                }
                return done;
            }
            _ = ticks.tick(), if execution.updates.is_some() => {
                let bytes = moved.bytes();
                if bytes != last
                    && let Some(updates) = &execution.updates
                {
                    last = bytes;
                    _ = updates.try_send(TransferUpdate::Moved { bytes });
                }
            }
        }
    }
}

async fn dispatch(
    job: &TransferJob,
    execution: &Execution<'_>,
    moved: &Moved,
) -> Result<TransferReport, TransferError> {
    match &job.operation {
        Operation::Restore { candidates } => {
            restore::restore(job, candidates, execution, moved).await
        }
        Operation::Verify { key } => restore::verify(job, key, execution, moved).await,
        Operation::Scan { known } => persist::scan(job, known.clone(), execution).await,
        Operation::LookInside => persist::look_inside(job, execution).await,
        Operation::Persist { key, metadata, condition } => {
            persist::persist(job, (key, metadata, condition), execution, moved).await
        }
    }
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
