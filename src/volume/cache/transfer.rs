//! One look at a store, one restore or one persist: its time, and its early end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::CacheConfig;

pub const CANCELLED: &str = "it was cancelled";

pub struct Transfer {
    budget: Duration,
    deadline: Instant,
    cancel: CancellationToken,
    /// For code that waits.
    pub over: CancellationToken,
    /// For code that works.
    stop: Arc<AtomicBool>,
}

impl Transfer {
    pub fn start(config: &CacheConfig, cancel: &CancellationToken) -> Self {
        Self {
            budget: config.budget,
            deadline: Instant::now() + config.budget,
            cancel: cancel.clone(),
            over: CancellationToken::new(),
            stop: Arc::default(),
        }
    }

    /// Waits for something, unless the transfer has to end first.
    pub async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            reason = self.has_to_end() => Err(reason),
        }
    }

    /// Runs something on a thread of its own, which is asked to stop when the transfer has to end. It
    /// has ended when this returns.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T, String> {
        let stop = self.stop.clone();
        let mut thread = tokio::task::spawn_blocking(move || work(&stop));
        tokio::select! {
            biased;
            done = &mut thread => done.map_err(|error| error.to_string()),
            reason = self.has_to_end() => {
                self.over.cancel();
                self.stop.store(true, Ordering::Relaxed);
                _ = thread.await;
                Err(reason)
            }
        }
    }

    async fn has_to_end(&self) -> String {
        tokio::select! {
            () = self.cancel.cancelled() => CANCELLED.to_owned(),
            () = tokio::time::sleep_until(self.deadline) => format!(
                "gave up after {}, allow more with `cache_budget`",
                humantime::format_duration(self.budget)
            ),
        }
    }
}
