//! The deadline, the stall timeout and the cancellation of a transfer.
//!
//! A store on the network sends requests again that stand still, so while a transfer waits for such a store
//! only the budget counts. A thread inside a system call cannot be interrupted. It is left behind after five
//! seconds and cannot put a volume in its place any more, since that is committed before the rename.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::trace;

use archive::{Control, Stage, Wake, Working, message};
use store::Progress;

use super::error::TransferError;
use super::job::Deadlines;

/// How long a thread that was told to stop is waited for. One that sits in a system call, on a disk that
/// does not answer, may never end.
const GRACE: Duration = Duration::from_secs(5);

/// Ends a transfer that takes too long, stands still or is cancelled. It also ends when this is dropped,
/// whatever is still under way.
pub struct Watchdog {
    budget: Duration,
    stall: Duration,
    /// Whether the store itself ends requests that stand still and sends them again, as one on the network
    /// does. Then only the budget ends its work.
    store_retries: bool,
    deadline: Instant,
    cancel: CancellationToken,
    /// For code that waits.
    pub over: CancellationToken,
    /// For threads.
    control: Control,
    /// What stores do that is not seen here.
    followed: Mutex<Vec<Progress>>,
    /// Whether the limits are settings of a cache, which an error names.
    has_settings: bool,
    /// Why it has to end.
    reason: OnceLock<TransferError>,
}

impl Watchdog {
    /// `store_retries` is what [`Objects::retries`](store::Objects::retries) says of the store.
    pub fn start(deadlines: Deadlines, store_retries: bool, cancel: &CancellationToken) -> Self {
        Self::since(Instant::now(), deadlines, store_retries, cancel)
    }

    /// Of one of several attempts that began at this time and have one budget together.
    pub fn since(
        begun: Instant,
        deadlines: Deadlines,
        store_retries: bool,
        cancel: &CancellationToken,
    ) -> Self {
        let Deadlines { stall, budget, spent } = deadlines;
        let over = CancellationToken::new();
        let control = Control::new();
        control.on_stop(Arc::new(Interrupt(over.clone())));
        Self {
            budget,
            stall,
            store_retries,
            deadline: begun + budget.saturating_sub(spent),
            cancel: cancel.clone(),
            over,
            control,
            followed: Mutex::default(),
            has_settings: true,
            reason: OnceLock::new(),
        }
    }

    /// The same for limits that no user can change.
    pub fn without_settings(mut self) -> Self {
        self.has_settings = false;
        self
    }

    /// Waits for something, unless the transfer has to end first.
    pub async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            reason = self.has_to_end() => {
                let reason = self.end(reason);
                self.control.stop();
                Err(reason)
            }
        }
    }

    /// Marks that something other than a thread is in a stage.
    pub fn enter(&self, stage: Stage) -> Working {
        self.control.enter(stage)
    }

    /// Takes these steps for progress too.
    pub fn follow(&self, progress: Progress) {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).push(progress);
    }

    fn steps(&self) -> u64 {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.iter().map(Progress::steps).fold(self.control.steps(), u64::wrapping_add)
    }

    /// Runs something on a thread of its own, which is stopped when the transfer has to end.
    ///
    /// The thread has then ended, or it sits in a system call. Such a thread is left behind: when the call
    /// returns it clears up, and it cannot [commit](Control::commit) any more.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Control) -> T + Send + 'static,
    ) -> Result<T, TransferError> {
        let control = self.control.clone();
        let (sender, mut done) = oneshot::channel();
        let thread = move || {
            let done = catch_unwind(AssertUnwindSafe(|| work(&control)));
            // Nobody waits for a thread that was left behind.
            _ = sender.send(done.map_err(|panic| {
                TransferError::Internal(format!(
                    "internal error: a thread panicked: {}",
                    message(&*panic)
                ))
            }));
        };
        std::thread::Builder::new()
            .name("transfer".to_owned())
            .spawn(thread)
            .map_err(|error| TransferError::Internal(format!("cannot start a thread: {error}")))?;
        let lost = || Err(TransferError::Internal("internal error: a thread was lost".to_owned()));
        tokio::select! {
            biased;
            done = &mut done => match self.reason.get() {
                // What runs beside it has found out first, and has stopped it.
                Some(reason) if self.control.is_stopped() => Err(reason.clone()),
                _ => done.unwrap_or_else(|_| lost()),
            },
            reason = self.has_to_end() => {
                let reason = self.end(reason);
                let is_committed = !self.control.stop();
                match tokio::time::timeout(GRACE, done).await {
                    // It was quicker.
                    Ok(Ok(done)) if is_committed => done,
                    _ => Err(reason),
                }
            }
        }
    }

    /// Keeps the first reason to end.
    fn end(&self, reason: TransferError) -> TransferError {
        self.reason.get_or_init(|| reason).clone()
    }

    async fn has_to_end(&self) -> TransferError {
        tokio::select! {
            () = self.cancel.cancelled() => TransferError::Cancelled,
            () = tokio::time::sleep_until(self.deadline) => TransferError::OverBudget(format!(
                "gave up after {}{}",
                humantime::format_duration(self.budget),
                if self.has_settings { ", allow more with `cache_budget`" } else { "" }
            )),
            stage = self.stands_still() => self.stalled(stage),
        }
    }

    /// Ends when nothing has moved for as long as may be, with the stage that does not.
    ///
    /// Looks are counted, not time, so that a process that was stopped for a while has all of it left.
    async fn stands_still(&self) -> Stage {
        let pause = (self.stall / 16).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let (mut steps, mut still) = (self.steps(), Duration::ZERO);
        loop {
            tokio::time::sleep(pause).await;
            let now = self.steps();
            match self.control.stage() {
                Some(stage) if now == steps && !self.is_left_to_store(stage) => {
                    still += pause;
                    trace!(?stage, ?still, "nothing moves");
                    if still >= self.stall {
                        return stage;
                    }
                }
                _ => still = Duration::ZERO,
            }
            steps = now;
        }
    }

    fn is_left_to_store(&self, stage: Stage) -> bool {
        self.store_retries && matches!(stage, Stage::Download | Stage::Upload)
    }

    fn stalled(&self, stage: Stage) -> TransferError {
        let (what, look) = match stage {
            Stage::Write => ("writing the volume", "check its disk"),
            Stage::Upload => ("the upload", "check the store"),
            Stage::Pack => ("reading the volume", "check its disk"),
            Stage::Compress => ("compression", "check the load of this machine"),
            Stage::Decompress => ("decompression", "check the load of this machine"),
            Stage::Download => ("the download", "check the store"),
            Stage::Memory => ("the wait for memory that other volumes have", "check their disks"),
        };
        TransferError::Stalled(format!(
            "{what} made no progress for {}, {look}{}",
            humantime::format_duration(self.stall),
            if self.has_settings { " or raise `cache_stall`" } else { "" }
        ))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Ends a wait in the runtime.
pub struct Interrupt(pub CancellationToken);

impl Wake for Interrupt {
    fn wake(&self) {
        self.0.cancel();
    }
}
