//! The cache of a run's volumes: from the store into a volume and back.

mod access;
mod describe;
mod failure;
mod local;
mod persist;
mod project;
mod restore;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::access::{Known, Need};
pub use self::describe::describe;
pub use self::local::{DEFAULT_SIZE, LocalStore};
pub use self::restore::Restored;
use super::VolumeName;
use crate::driver::Volume;
use crate::event::EventSink;
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};
use archive::Budget;
use store::{CacheConfig, CacheKey, CacheStore, ObjectInfo, Objects};
use transfer::{
    Deadlines, Execution, Operation, TransferError, TransferJob, TransferReport, TransferUpdate,
};

/// How many volumes are transferred at the same time. Each one uses all cores and several
/// connections already; more of them would only need more memory.
const TURNS: usize = 3;

/// Memory for the content of all archives that are being packed or unpacked, in bytes: a reserve for each
/// of them, and about as much to be lent.
const MEMORY: usize = 112 << 20;

/// How long the end of a run waits for the clean-up of what killed runs left.
const SWEEPING: Duration = Duration::from_secs(10);

/// Said of each volume when the reason was told before.
const UNUSED: &str = "the cache cannot be used";

/// Why something was not done that nobody needed any more.
const CANCELLED: &str = "it was cancelled";

/// How many updates of a transfer wait for the events.
const UPDATES: usize = 16;

/// Restores and persists volumes. Whatever goes wrong is a warning, a report and an entry in
/// [`failures`](Self::failures), never an error: a run goes on without its cache.
pub struct VolumeCache {
    config: CacheConfig,
    store: Arc<dyn CacheStore>,
    events: EventSink,
    /// Fires when nothing that is still being transferred is wanted any more.
    cancel: CancellationToken,
    /// Fires with it, or before, when nobody can use a restored volume any more.
    restores: CancellationToken,
    /// Who uploads, for the next one who wonders.
    writer: String,
    /// The name of the project whose volumes these are, where that is known.
    project: Option<String>,
    /// If the store is the user's own, which is kept below a size.
    local: Option<LocalStore>,
    /// The archives that were restored, written or found to be right.
    used: Mutex<HashSet<CacheKey>>,
    known: Known,
    turns: Semaphore,
    budget: Budget,
    failures: Mutex<Vec<String>>,
    /// Clears up what killed runs left in the store.
    sweep: Mutex<Option<JoinHandle<()>>>,
}

impl VolumeCache {
    /// `cancel` ends what is being transferred.
    pub fn new(
        config: CacheConfig,
        store: Arc<dyn CacheStore>,
        writer: String,
        events: EventSink,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            config,
            store,
            events,
            restores: cancel.child_token(),
            cancel,
            writer,
            project: None,
            local: None,
            used: Mutex::default(),
            known: Known::default(),
            turns: Semaphore::new(TURNS),
            budget: Budget::new(MEMORY),
            failures: Mutex::default(),
            sweep: Mutex::default(),
        }
    }

    /// The same for the volumes of a project with this name, which its archives tell.
    pub fn of_project(mut self, name: String) -> Self {
        self.project = Some(name);
        self
    }

    /// The same in the user's own store, if it is that.
    pub fn in_local_store(mut self, local: Option<LocalStore>) -> Self {
        self.local = local;
        self
    }

    /// Asks the store what it can be used for, so that the answer is there when it is needed.
    pub async fn connect(&self) {
        let need = if self.config.policy.pulls() { Need::Read } else { Need::Write };
        self.access(need).await;
    }

    /// Begins to clear up what killed runs left, while volumes are restored.
    fn start_sweep(&self) {
        let store = self.store.clone();
        let sweep = tokio::spawn(async move {
            // What a killed run left is not worth a word, and neither is a failure to clear it.
            _ = store.sweep().await;
        });
        *lock(&self.sweep) = Some(sweep);
    }

    /// Ends the restores that are under way, and those that are yet to begin.
    pub fn end_restores(&self) {
        self.restores.cancel();
    }

    /// What went wrong so far, in the words of the warnings.
    pub fn failures(&self) -> Vec<String> {
        self.lock_failures().clone()
    }

    /// Waits until nothing of what was cancelled is left in the store.
    pub async fn close(&self) {
        let sweep = lock(&self.sweep).take();
        if let Some(mut sweep) = sweep {
            tokio::select! {
                _ = &mut sweep => {}
                // The next run goes on with it.
                () = tokio::time::sleep(SWEEPING) => sweep.abort(),
                () = self.cancel.cancelled() => sweep.abort(),
            }
        }
        self.store.close().await;
    }

    /// Carries out a job for a volume, and tells of it in events.
    async fn transfer(
        &self,
        operation: Operation,
        started: Instant,
        volume: &Volume,
        report: &mut CacheReport,
        cancel: &CancellationToken,
    ) -> Result<TransferReport, TransferError> {
        let job = self.describe(operation, started.elapsed());
        let (updates, mut received) = mpsc::channel(UPDATES);
        let execute = self.execute(&job, Some(volume), Some(updates), cancel);
        // Ends when the transfer has let go of its end.
        let tell = async {
            while let Some(update) = received.recv().await {
                let volume = report.volume.clone();
                match update {
                    TransferUpdate::Found { key, bytes } => {
                        report.key = key.to_string();
                        report.bytes = bytes;
                        let key = report.key.clone();
                        self.events.send(RunEvent::CacheRestoring { volume, key, bytes }).await;
                    }
                    TransferUpdate::Moved { bytes } => {
                        let operation = report.operation;
                        let progress = RunEvent::CacheProgress { volume, operation, bytes };
                        self.events.send(progress).await;
                    }
                }
            }
        };
        tokio::join!(execute, tell).0
    }

    /// `spent` is what earlier jobs have taken of the budget.
    fn describe(&self, operation: Operation, spent: Duration) -> TransferJob {
        let deadlines = Deadlines { spent, ..(&self.config).into() };
        TransferJob { operation, format: (&self.config).into(), deadlines }
    }

    async fn execute(
        &self,
        job: &TransferJob,
        volume: Option<&Volume>,
        updates: Option<mpsc::Sender<TransferUpdate>>,
        cancel: &CancellationToken,
    ) -> Result<TransferReport, TransferError> {
        let store: &dyn Objects = &*self.store;
        let execution = Execution {
            store: Some(store),
            volume: volume.map(|volume| &volume.access),
            budget: &self.budget,
            updates,
            cancel,
        };
        transfer::execute(job, execution).await
    }

    /// Whether an object is too old to count.
    fn is_expired(&self, info: &ObjectInfo) -> bool {
        // An object from the future is as fresh as can be.
        let age = SystemTime::now().duration_since(info.modified).unwrap_or_default();
        self.config.ttl.is_some_and(|ttl| age > ttl)
    }

    async fn turn(
        &self,
        cancel: &CancellationToken,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
        tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|error| error.to_string()),
            () = cancel.cancelled() => Err(CANCELLED.to_owned()),
        }
    }

    fn report(&self, volume: &VolumeName, operation: CacheOperation) -> CacheReport {
        CacheReport {
            volume: volume.to_string(),
            operation,
            outcome: CacheOutcome::Failed,
            key: self.config.key(volume).map_or_else(|_| String::new(), |key| key.to_string()),
            bytes: 0,
            content_bytes: 0,
            duration_ms: 0,
            reason: String::new(),
        }
    }

    fn failed(&self, message: String) {
        self.events.warning(message.clone());
        self.lock_failures().push(message);
    }

    fn lock_failures(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.failures)
    }
}

/// Nobody panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
