//! The cache of a run's volumes: from the store into a volume and back.

mod access;
mod content;
mod describe;
mod download;
mod failure;
mod pack;
mod persist;
mod restore;
mod transfer;
mod unpack;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::access::{Known, Need};
pub use self::describe::describe;
pub use self::download::{Downloaded, unpack_options};
pub use self::restore::Restored;
use super::VolumeName;
use crate::cache::{CacheConfig, CacheStore, ObjectInfo};
use crate::context::EventSink;
use crate::event::{CacheOperation, CacheOutcome, CacheReport};
use archive::Budget;

/// How many volumes are transferred at the same time. Each one uses all cores and several
/// connections already; more of them would only need more memory.
const TURNS: usize = 3;

/// Memory for the content of all archives that are being packed or unpacked, in bytes: a reserve for each
/// of them, and about as much to be lent.
const MEMORY: usize = 112 << 20;

/// How the digest of a tree is computed: another way is another number.
const DIGEST_VERSION: u64 = 1;

/// How long the end of a run waits for the clean-up of what killed runs left.
const SWEEPING: Duration = Duration::from_secs(10);

/// Said of each volume when the reason was told before.
const UNUSED: &str = "the cache cannot be used";

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
            known: Known::default(),
            turns: Semaphore::new(TURNS),
            budget: Budget::new(MEMORY),
            failures: Mutex::default(),
            sweep: Mutex::default(),
        }
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

    /// How old an object is, for people, if it is too old to count.
    fn expired(&self, info: &ObjectInfo) -> Option<String> {
        let ttl = self.config.ttl?;
        // An object from the future is as fresh as can be.
        let age = SystemTime::now().duration_since(info.modified).unwrap_or_default();
        let whole = Duration::from_secs(age.as_secs());
        (age > ttl).then(|| humantime::format_duration(whole).to_string())
    }

    async fn turn(
        &self,
        cancel: &CancellationToken,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
        tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|error| error.to_string()),
            () = cancel.cancelled() => Err(transfer::CANCELLED.to_owned()),
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
