//! Time that can be made to stand still.
//!
//! Timeouts use this clock, so that none passes while a user looks into a failure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What the timeouts of a run go by: the time that a user spends in a shell is nobody's.
pub struct Clock {
    stands: watch::Sender<bool>,
    started: Instant,
    pauses: Mutex<Pauses>,
}

/// When the clock stood still.
#[derive(Default)]
struct Pauses {
    ended: Duration,
    since: Option<Instant>,
}

impl Default for Clock {
    fn default() -> Self {
        let (stands, pauses) = Default::default();
        Self { stands, started: Instant::now(), pauses }
    }
}

/// Lets the clock go on when it is dropped.
pub struct PausedClock(Arc<Clock>);

impl Clock {
    /// Stops the clock. Only one may do that at a time.
    pub fn stop(self: &Arc<Self>) -> PausedClock {
        self.pauses().since = Some(Instant::now());
        self.stands.send_replace(true);
        PausedClock(self.clone())
    }

    /// The time since the clock was made, without that for which it stood still.
    pub fn now(&self) -> Duration {
        let pauses = self.pauses();
        let until = pauses.since.unwrap_or_else(Instant::now);
        until.duration_since(self.started).saturating_sub(pauses.ended)
    }

    fn pauses(&self) -> std::sync::MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for this long by this clock.
    pub async fn sleep(&self, mut left: Duration) {
        let mut stands = self.stands.subscribe();
        loop {
            // The sender lives as long as this borrow.
            _ = stands.wait_for(|stands| !stands).await;
            let since = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                _ = stands.wait_for(|stands| *stands) => {
                    left = left.saturating_sub(since.elapsed());
                }
            }
        }
    }
}

impl Drop for PausedClock {
    fn drop(&mut self) {
        let mut pauses = self.0.pauses();
        if let Some(since) = pauses.since.take() {
            pauses.ended += since.elapsed();
        }
        drop(pauses);
        self.0.stands.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_passes_while_it_stands_still() {
        let clock = Arc::new(Clock::default());
        let standstill = clock.stop();
        let now = clock.now();
        let mut sleep = std::pin::pin!(clock.sleep(Duration::ZERO));
        tokio::select! {
            biased;
            () = &mut sleep => panic!("it did not stand still"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        assert_eq!(clock.now(), now);
        drop(standstill);
        sleep.await;
        assert!(clock.now() >= now);
    }
}
