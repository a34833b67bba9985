//! The time that requests are signed with.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;

/// This machine's clock, or the server's once the server has said that they differ too much.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// How far the server is ahead, in milliseconds; [`UNKNOWN`] before it was corrected.
    ahead: Arc<AtomicI64>,
}

/// A server that is exactly on time needs no correction.
const UNKNOWN: i64 = 0;

impl Clock {
    pub fn is_corrected(&self) -> bool {
        self.ahead.load(Ordering::Relaxed) != UNKNOWN
    }

    /// Takes the server's time from then on. Returns whether this changed anything: the clock is
    /// corrected once.
    pub fn correct(&self, server: SystemTime) -> bool {
        let now = SystemTime::now();
        let ahead = match server.duration_since(now) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        ahead != UNKNOWN
            && self
                .ahead
                .compare_exchange(UNKNOWN, ahead, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let difference = Duration::from_millis(ahead.unsigned_abs());
        let now = SystemTime::now();
        let corrected = match ahead >= 0 {
            true => now.checked_add(difference),
            false => now.checked_sub(difference),
        };
        corrected.unwrap_or(now)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_corrected_once() {
        let clock = Clock::default();
        assert!(!clock.is_corrected());
        let hour = Duration::from_secs(3600);
        let shared = clock.clone();
        assert!(clock.correct(SystemTime::now() - hour));
        assert!(!clock.correct(SystemTime::now() + hour));
        assert!(shared.is_corrected());
        let behind = SystemTime::now().duration_since(shared.now()).unwrap();
        assert!(behind > hour - Duration::from_secs(60) && behind < hour + Duration::from_secs(60));
    }
}
