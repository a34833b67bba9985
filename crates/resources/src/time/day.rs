//! Times of the day, and days of the week.

use jiff::civil::{Time, Weekday};

use crate::error::{ResourceError, printable};

/// Reads `3:04 PM`, `3PM`, `3 PM`, `15:04` and `1504`. An offset such as ` +0700` may follow; the time is that in UTC
/// then.
pub fn time(name: &str, text: &str) -> Result<Time, ResourceError> {
    parsed(text).ok_or_else(|| {
        ResourceError::failed(format!(
            "`{name}` is `{}`, which is no time such as `3:04 PM`, `3PM`, `15:04` or `1504`; write it in quotes",
            printable(text)
        ))
    })
}

fn parsed(text: &str) -> Option<Time> {
    let text = text.trim();
    let (clock, offset) = match text.rsplit_once(' ') {
        Some((clock, offset)) if offset.starts_with(['+', '-']) => {
            (clock.trim_end(), minutes_of(offset)?)
        }
        _ => (text, 0),
    };
    let upper = clock.to_ascii_uppercase();
    let half = [("AM", 0), ("PM", 12)]
        .into_iter()
        .find_map(|(half, hours)| Some((upper.strip_suffix(half)?, hours)));
    let (hour, minute) = match half {
        Some((clock, hours)) => {
            let (hour, minute) =
                clock.trim_end().split_once(':').unwrap_or((clock.trim_end(), "00"));
            let hour = number(hour, 1..=2)?;
            (((1..=12).contains(&hour)).then_some(hour % 12 + hours)?, minute)
        }
        None => {
            let (hour, minute) = match clock.split_once(':') {
                Some(parts) => parts,
                None => clock.split_at_checked(2)?,
            };
            (number(hour, 1..=2)?, minute)
        }
    };
    let minute = number(minute, 2..=2)?;
    if hour > 23 || minute > 59 {
        return None;
    }
    let total = (hour * 60 + minute - offset).rem_euclid(24 * 60);
    Time::new((total / 60) as i8, (total % 60) as i8, 0, 0).ok()
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i32> {
    let is_number = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn minutes_of(offset: &str) -> Option<i32> {
    let (sign, digits) = match offset.as_bytes().first()? {
        b'-' => (-1, &offset[1..]),
        _ => (1, &offset[1..]),
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    Some(sign * (number(hours, 2..=2)? * 60 + number(minutes, 2..=2)?))
}

/// Reads `Monday` and `Mon`, in any case.
pub fn weekday(text: &str) -> Result<Weekday, ResourceError> {
    const DAYS: [(&str, Weekday); 7] = [
        ("sunday", Weekday::Sunday),
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
    ];
    let lower = text.to_ascii_lowercase();
    let found = DAYS.iter().find(|(name, _)| lower == *name || lower == name[..3]);
    found.map(|(_, day)| *day).ok_or_else(|| {
        let names = DAYS.map(|(name, _)| name);
        let suggestion = spec::suggest::did_you_mean(text, &names);
        ResourceError::failed(format!(
            "`days` has `{}`, which is no day of the week{suggestion}",
            printable(text)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_notation() {
        for (text, hour, minute) in [
            ("3:04 PM", 15, 4),
            ("3PM", 15, 0),
            ("3 pm", 15, 0),
            ("12:00 AM", 0, 0),
            ("12PM", 12, 0),
            ("15:04", 15, 4),
            ("7:30", 7, 30),
            ("1504", 15, 4),
            ("01:00 +0200", 23, 0),
            ("8:00 PM -0400", 0, 0),
        ] {
            assert_eq!(parsed(text), Time::new(hour, minute, 0, 0).ok(), "{text}");
        }
        for text in ["", "13PM", "24:00", "1:5", "12:60", "1140s", "ü:00", "0 PM", "15:04 +02"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
