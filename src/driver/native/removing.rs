//! Waits for directories to be removed, which a disk that does not answer may never do.
//!
//! Removal goes on for as long as anything is removed, however much there is. When nothing was removed for
//! two minutes, the run ends with exit code 3 and says what is left.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::prepared_task::{PreparedTask, WorkArea};
use super::shared::{Shared, blocking};
use crate::driver::DriverError;
use files::remove;

/// How long nothing may have been removed. One large file can take a while.
const STANDSTILL: Duration = Duration::from_mins(2);

/// How often to look whether something was removed.
const LOOKS: u32 = 60;

/// Clears what was made for a task, when nothing of it runs any more.
pub async fn clear(shared: &Arc<Shared>, prepared: PreparedTask) -> Result<WorkArea, DriverError> {
    let worker = shared.clone();
    let clear = blocking(move || prepared.clear(&worker));
    let area = removing(&shared.location.directory.path, clear).await;
    shared.sweep();
    area
}

/// Waits for work that removes what is at a path, for as long as anything is removed. What is given up goes on
/// in the background if the disk answers again.
pub async fn removing<T>(
    path: &Path,
    work: impl Future<Output = Result<T, DriverError>>,
) -> Result<T, DriverError> {
    match while_it_moves(STANDSTILL, remove::removed, work).await {
        Some(result) => result,
        None => {
            let standstill = humantime::format_duration(STANDSTILL);
            Err(DriverError::Io {
                context: format!("gave up removing `{}`", path.display()),
                source: Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "nothing was removed for {standstill}, check the disk; the next run of the same \
                         namespace removes what is left, and so does `ci prune`"
                    ),
                ),
            })
        }
    }
}

/// `None` when the number of steps has not changed for that long.
async fn while_it_moves<T>(
    standstill: Duration,
    steps: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> Option<T> {
    let watch = async {
        let (mut before, mut still) = (steps(), 0);
        while still < LOOKS {
            sleep(standstill / LOOKS).await;
            let now = steps();
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = watch => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn what_stands_still_is_given_up() {
        assert_eq!(while_it_moves(SHORT, || 7, std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn what_moves_is_waited_for() {
        let looks = Cell::new(0);
        let steps = || {
            looks.set(looks.get() + 1);
            looks.get()
        };
        let work = async {
            while looks.get() < 3 * u64::from(LOOKS) {
                tokio::task::yield_now().await;
            }
            "done"
        };
        assert_eq!(while_it_moves(SHORT, steps, work).await, Some("done"));
    }
}
