//! Durations as users write them: `90s`, `1h 30m`, `7d`.

use std::time::Duration;

/// What is wrong with a duration, for the end of a message: `expected a duration such as …{reason}`.
#[derive(Debug, PartialEq, Eq, Clone, thiserror::Error)]
pub enum DurationError {
    #[error("it is not a duration")]
    Invalid,
    /// `humantime` reads `M` as months, and whoever writes it means minutes.
    #[error("`M` is not a unit: write `m` for minutes, or `months`")]
    CapitalM,
    /// A number of what?
    #[error("a unit is missing: write `{0}s` for seconds")]
    NoUnit(String),
}

impl DurationError {
    /// What to append to a message that names the right form; empty when that form says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::Invalid => String::new(),
            Self::CapitalM | Self::NoUnit(_) => format!(" ({self})"),
        }
    }
}

/// Parses a duration. Every duration that a user writes goes through here.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if has_unit_capital_m(text) {
        return Err(DurationError::CapitalM);
    }
    humantime::parse_duration(text).map_err(|_| match text.trim() {
        number if is_number(number) => DurationError::NoUnit(number.to_owned()),
        _ => DurationError::Invalid,
    })
}

/// Whether it is digits, few enough to be repeated in a message.
fn is_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_unit_capital_m(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|unit| unit == "M")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_units_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("1month", 2_630_016),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn a_capital_m_is_no_unit() {
        for text in ["10M", "10 M", "1h10M", "1h 10M 5s", "1M"] {
            assert_eq!(parse(text), Err(DurationError::CapitalM), "{text}");
        }
        for text in ["", "soon", "-1s", "1.5", "1H"] {
            assert_eq!(parse(text), Err(DurationError::Invalid), "{text}");
        }
    }

    #[test]
    fn a_number_needs_a_unit() {
        let hint = parse(" 10 ").unwrap_err().hint();
        assert_eq!(hint, " (a unit is missing: write `10s` for seconds)");
        assert_eq!(parse("12345678901"), Err(DurationError::Invalid));
    }
}
