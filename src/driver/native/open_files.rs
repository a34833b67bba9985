//! A share in the number of files that this process may have open.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::shared::Shared;
use crate::driver::DriverError;

/// Files that a task has open in this process. Each share is given back when its files are closed:
/// processes that a command leaves behind keep their reaper's channel, and keep the streams only while
/// they have those open themselves.
#[derive(Debug)]
pub struct TaskFiles {
    pub channel: FileShare,
    pub stdin: FileShare,
    pub stdout: FileShare,
    pub stderr: FileShare,
    /// Mount points in a directory of the machine, which are held open.
    pub mount_points: FileShare,
    /// What only the start of a task needs: the other sides of the streams and of the channel, and the
    /// directories that are made.
    pub start: FileShare,
}

pub type FileShare = Option<OwnedSemaphorePermit>;

const FOR_START: u32 = 8;

/// How long a task waits for its share before the user is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// All that the tasks of a run may have open.
#[derive(Debug)]
pub struct OpenFiles {
    files: Arc<Semaphore>,
    total: u32,
    limit: u64,
}

impl OpenFiles {
    /// `total` is what a process with this limit can spare for tasks.
    pub fn new(total: u32, limit: u64) -> Self {
        Self { files: Arc::new(Semaphore::new(total as usize)), total, limit }
    }

    /// Waits until a task may open its files. Dropping the future gives the place in the queue back.
    pub async fn acquire(
        &self,
        shared: &Shared,
        with_stdin: bool,
        mount_points: usize,
    ) -> Result<TaskFiles, DriverError> {
        let mount_points = u32::try_from(mount_points).unwrap_or(u32::MAX);
        let stdin = u32::from(with_stdin);
        let all = mount_points.saturating_add(3 + stdin + FOR_START);
        if all > self.total {
            return Err(DriverError::Refused(format!(
                "{all} files have to be open for this task and {} can be, raise the limit of {} with \
                 `ulimit -n`",
                self.total, self.limit
            )));
        }
        let mut acquired = std::pin::pin!(self.files.clone().acquire_many_owned(all));
        let acquired = tokio::select! {
            biased;
            acquired = &mut acquired => acquired,
            () = sleep(PATIENCE) => {
                shared.notify(format!(
                    "tasks wait until others have ended, because `ci` may not open more than {} \
                     files; processes that tasks leave in the background count as well; raise the \
                     limit with `ulimit -n`",
                    self.limit
                ));
                acquired.await
            }
        };
        let closed = |_| DriverError::Refused("the run has ended".to_owned());
        let mut rest = acquired.map_err(closed)?;
        Ok(TaskFiles {
            channel: rest.split(1),
            stdin: rest.split(stdin as usize),
            stdout: rest.split(1),
            stderr: rest.split(1),
            mount_points: rest.split(mount_points as usize),
            start: Some(rest),
        })
    }
}
