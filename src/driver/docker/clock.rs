//! The engine's clock.
//!
//! Leases expire by it, since it is the only clock that all runs of an engine share. Each answer of the
//! engine has the time in its `Date` header, so a clock that is set while a run lives is noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::UNIX_EPOCH;

use hyper::HeaderMap;
use hyper::header::DATE;
use nix::time::{ClockId, clock_gettime};

use super::labels;

/// The engine has not told its time so far.
const UNKNOWN: i64 = i64::MIN;

#[derive(Clone)]
pub struct EngineClock {
    /// The engine's time, in seconds since 1970, less this machine's [`uptime`].
    offset: Arc<AtomicI64>,
}

impl Default for EngineClock {
    fn default() -> Self {
        Self { offset: Arc::new(AtomicI64::new(UNKNOWN)) }
    }
}

impl EngineClock {
    /// Seconds since 1970. This machine's clock stands in for that of an engine that does not tell its time.
    pub fn now(&self) -> i64 {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => labels::now(),
            offset => offset.saturating_add(uptime()),
        }
    }

    /// Takes the time from an answer.
    pub fn hear(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        if let Some(now) = date.and_then(seconds) {
            self.offset.store(now.saturating_sub(uptime()), Ordering::Relaxed);
        }
    }
}

/// Seconds since this machine was started, including those for which it was suspended: the engine's time
/// goes on meanwhile.
fn uptime() -> i64 {
    // Linux has this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec())
}

/// A date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7) in seconds since 1970.
fn seconds(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = date.split_once(", ")?.1.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, zone) = (parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    if zone != "GMT" {
        return None;
    }
    let time = humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_seconds() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in
            ["", "Sun", "Sun, 06 Nov 1994", "Sun, 06 Non 1994 08:49:37 GMT", "a, b c d e f"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 CET"), None);
    }

    #[test]
    fn the_last_answer_counts() {
        let clock = EngineClock::default();
        assert!((clock.now() - labels::now()).abs() <= 1);
        for (date, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sun, 06 Nov 1994 08:50:37 GMT", 784_111_837),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            clock.hear(&headers);
            assert!((clock.now() - expected).abs() <= 1);
            // An answer without the time changes nothing.
            clock.hear(&HeaderMap::new());
            assert!((clock.now() - expected).abs() <= 1);
        }
    }
}
