//! Durations for people.

use std::time::Duration;

/// `12ms`, `1.2s`, `34s`, `2m 03s`, `1h 02m`: never rounded up, no more digits than one reads.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let millis = duration.subsec_millis();
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", millis / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_magnitude_has_its_unit() {
        let cases = [
            (0, "0ms"),
            (12, "12ms"),
            (999, "999ms"),
            (1_299, "1.2s"),
            (9_999, "9.9s"),
            (30_000, "30s"),
            (59_999, "59s"),
            (123_000, "2m 03s"),
            (3_599_000, "59m 59s"),
            (3_720_000, "1h 02m"),
            (360_000_000, "100h 00m"),
        ];
        for (millis, expected) in cases {
            assert_eq!(human(Duration::from_millis(millis)), expected);
        }
    }
}
