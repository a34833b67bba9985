//! When versions are made.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::error::{ResourceError, printable};
use crate::values::Object;

use super::{day, duration};

/// How many days back a window is looked for. On each of seven days in a row a window may have been skipped.
const DAYS_BACK: i64 = 9;

/// What `source` says.
pub struct Window {
    /// `None` is UTC.
    pub zone: Option<TimeZone>,
    pub initial_version: bool,
    interval: Option<Duration>,
    /// Equal: the whole day.
    start: Time,
    stop: Time,
    days: Vec<Weekday>,
    start_after: Option<Timestamp>,
}

impl Window {
    pub fn parse(source: &Object<'_>) -> Result<Self, ResourceError> {
        let zone = source.text("location")?.map(|name| zone(&name)).transpose()?;
        let in_zone = zone.clone().unwrap_or(TimeZone::UTC);
        let time = |name: &str| source.text(name)?.map(|text| day::time(name, &text)).transpose();
        let (start, stop) = match (time("start")?, time("stop")?) {
            (None, None) => (Time::midnight(), Time::midnight()),
            (Some(start), Some(stop)) => (start, stop),
            (Some(_), None) => return Err(ResourceError::failed("`start` needs `stop`")),
            (None, Some(_)) => return Err(ResourceError::failed("`stop` needs `start`")),
        };
        let start_after = source.text("start_after")?.map(|text| {
            let parsed = text.parse::<DateTime>().ok().and_then(|at| in_zone.to_timestamp(at).ok());
            parsed.ok_or_else(|| {
                ResourceError::failed(format!(
                    "`start_after` is `{}`, which is no time such as `2006-01-02T15:04:05` or `2006-01-02`",
                    printable(&text)
                ))
            })
        });
        Ok(Self {
            initial_version: source.flag("initial_version")?,
            interval: source
                .text("interval")?
                .map(|text| duration("interval", &text))
                .transpose()?,
            start,
            stop,
            days: source
                .list("days")?
                .iter()
                .map(|name| day::weekday(name))
                .collect::<Result<_, _>>()?,
            start_after: start_after.transpose()?,
            zone,
        })
    }

    fn in_zone(&self) -> TimeZone {
        self.zone.clone().unwrap_or(TimeZone::UTC)
    }

    /// Whether an instant may be a version.
    pub fn has(&self, instant: Timestamp) -> bool {
        let local = instant.to_zoned_datetime(self.in_zone());
        self.is_day(local.weekday())
            && self.start_after.is_none_or(|start| start < instant)
            && self.around(instant).is_some()
    }

    /// Whether `now` is a version after the one that is given.
    pub fn is_next(&self, given: Timestamp, now: Timestamp) -> bool {
        if !self.has(now) {
            return false;
        }
        match self.interval {
            Some(interval) => {
                let passed = Duration::try_from(now.duration_since(given));
                passed.is_ok_and(|passed| passed >= interval)
            }
            None => self.around(now).is_some_and(|(start, _)| given < start),
        }
    }

    /// The last whole second before `now` that may be a version.
    pub fn last_before(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned_datetime(self.in_zone()).date();
        let mut last = None;
        for back in 0..=DAYS_BACK {
            let Ok(date) = today.checked_sub(Span::new().days(back)) else { break };
            let Some((start, stop)) = self.of_day(date) else { continue };
            // A window over midnight is of two days.
            let midnight = date.tomorrow().ok().and_then(|next| self.at(next, Time::midnight()));
            let parts = match midnight {
                Some(midnight) if midnight < stop => vec![(start, midnight), (midnight, stop)],
                _ => vec![(start, stop)],
            };
            for (start, stop) in parts {
                let end = stop.min(now);
                let instant = end.checked_sub(Duration::from_secs(1)).ok()?.max(start);
                if instant < end && self.has(instant) {
                    last = last.max(Some(instant));
                }
            }
        }
        last
    }

    fn is_day(&self, day: Weekday) -> bool {
        self.days.is_empty() || self.days.contains(&day)
    }

    /// The window that an instant is in.
    fn around(&self, instant: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let today = instant.to_zoned_datetime(self.in_zone()).date();
        let days = [Some(today), today.yesterday().ok()];
        let mut windows = days.into_iter().flatten().filter_map(|date| self.of_day(date));
        windows.find(|(start, stop)| *start <= instant && instant < *stop)
    }

    /// The window that begins on a day.
    fn of_day(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let end = if self.stop > self.start { date } else { date.tomorrow().ok()? };
        Some((self.at(date, self.start)?, self.at(end, self.stop)?))
    }

    fn at(&self, date: Date, time: Time) -> Option<Timestamp> {
        self.in_zone().to_timestamp(date.to_datetime(time)).ok()
    }
}

fn zone(name: &str) -> Result<TimeZone, ResourceError> {
    TimeZone::get(name).map_err(|_| {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let suggestion = spec::suggest::did_you_mean(name, &names);
        ResourceError::failed(format!(
            "`location` is `{}`, which is no time zone{suggestion}",
            printable(name)
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn window(source: &Value) -> Window {
        Window::parse(&Object::new("source", source).unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_from_start_until_before_stop_in_its_zone() {
        let window =
            window(&json!({ "start": "9:00", "stop": "17:00", "location": "Europe/Berlin" }));
        for (text, expected) in [
            ("2026-07-01T06:59:59Z", false),
            ("2026-07-01T07:00:00Z", true),
            ("2026-07-01T14:59:59Z", true),
            ("2026-07-01T15:00:00Z", false),
            ("2026-12-01T07:30:00Z", false),
            ("2026-12-01T08:00:00Z", true),
        ] {
            assert_eq!(window.has(at(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_window_over_midnight_takes_the_days_as_they_are() {
        let window = window(&json!({ "start": "22:00", "stop": "2:00", "days": ["Mon"] }));
        for (text, expected) in [
            // A Monday.
            ("2026-11-30T21:59:59Z", false),
            ("2026-11-30T23:00:00Z", true),
            ("2026-11-30T01:00:00Z", true),
            ("2026-12-01T01:00:00Z", false),
        ] {
            assert_eq!(window.has(at(text)), expected, "{text}");
        }
        assert_eq!(
            window.last_before(at("2026-12-01T12:00:00Z")),
            Some(at("2026-11-30T23:59:59Z"))
        );
    }

    #[test]
    fn outside_of_the_window_the_last_instant_in_it_is_found() {
        for (source, now, expected) in [
            (
                json!({ "start": "1:00", "stop": "2:00" }),
                "2026-11-30T12:00:00Z",
                Some("2026-11-30T01:59:59Z"),
            ),
            (
                json!({ "start": "13:00", "stop": "14:00" }),
                "2026-11-30T12:00:00Z",
                Some("2026-11-29T13:59:59Z"),
            ),
            (json!({ "days": ["Tuesday"] }), "2026-11-30T12:00:00Z", Some("2026-11-24T23:59:59Z")),
            (
                json!({ "days": ["sun"], "start": "3PM", "stop": "4PM" }),
                "2026-11-29T12:00:00Z",
                Some("2026-11-22T15:59:59Z"),
            ),
            (json!({ "start_after": "2027-01-01" }), "2026-11-30T12:00:00Z", None),
            (
                json!({ "days": ["Tuesday"], "start_after": "2026-11-25" }),
                "2026-11-30T12:00:00Z",
                None,
            ),
        ] {
            let found = window(&source).last_before(at(now));
            assert_eq!(found, expected.map(at), "{source}");
        }
    }

    #[test]
    fn the_next_version_is_an_interval_later_or_in_another_window() {
        let hourly = window(&json!({ "interval": "1h" }));
        assert!(!hourly.is_next(at("2026-11-30T11:00:01Z"), at("2026-11-30T12:00:00Z")));
        assert!(hourly.is_next(at("2026-11-30T11:00:00Z"), at("2026-11-30T12:00:00Z")));
        let daily = window(&json!({}));
        assert!(!daily.is_next(at("2026-11-30T00:00:00Z"), at("2026-11-30T23:59:59Z")));
        assert!(daily.is_next(at("2026-11-29T23:59:59Z"), at("2026-11-30T00:00:00Z")));
    }
}
