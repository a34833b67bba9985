//! The one mechanism that moves a volume's content.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument, debug, debug_span};

use super::error::TransferError;
use super::execution::Execution;
use super::job::{Operation, TransferJob};
use super::report::{TransferReport, TransferUpdate};
use super::streams::Moved;
use super::{persist, restore};

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
