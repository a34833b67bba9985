//! Time that can be made to stand still.
//!
//! Timeouts use this clock, so that none passes while a user looks into a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What the timeouts of a run go by: the time that a user spends in a shell is nobody's.
#[derive(Default)]
pub struct Clock(watch::Sender<bool>);

/// Lets the clock go on when it is dropped.
pub struct PausedClock(Arc<Clock>);

impl Clock {
    /// Stops the clock. Only one may do that at a time.
    pub fn stop(self: &Arc<Self>) -> PausedClock {
        self.0.send_replace(true);
        PausedClock(self.clone())
    }

    /// Waits for this long by this clock.
    pub async fn sleep(&self, mut left: Duration) {
        let mut stands = self.0.subscribe();
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
        self.0.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_passes_while_it_stands_still() {
        let clock = Arc::new(Clock::default());
        let standstill = clock.stop();
        let mut sleep = std::pin::pin!(clock.sleep(Duration::ZERO));
        tokio::select! {
            biased;
            () = &mut sleep => panic!("it did not stand still"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        drop(standstill);
        sleep.await;
    }
}
