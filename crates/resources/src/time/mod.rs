//! Instants, at intervals and in a window of the day.
//!
//! What the fields mean is what they mean for <https://github.com/concourse/time-resource>. There, a check waits for
//! the window; here, a run is started by hand, and what it needs is a version. So a check without a version gives the
//! last instant that was in the window if the present one is not.
//!
//! Dates are jiff's: it has the rules of time zones with their gaps and folds as RFC 9557 wants them, reads the
//! system's zones and brings its own where there are none, and is kept by the author of ripgrep. chrono-tz has no
//! such lookup of the system's zones, and is a year behind when the zones change.

mod day;
mod window;

use std::time::Duration;

use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::destination;
use crate::error::{ResourceError, printable};
use crate::fields::{Field, Fields, Place, Shape};
use crate::kinds::{Invalid, Kind};
use crate::protocol::{Action, Job, Response, version};
use crate::values::Object;

use window::Window;

pub const KIND: Kind = Kind { name: "time", fields: &FIELDS, validate, run };

const FIELDS: Fields = Fields {
    source: &[
        Field::new(
            "interval",
            Shape::Text,
            "how much later than the given version the next one is, such as `1h30m`; once a day if not set",
        ),
        Field::new(
            "location",
            Shape::Text,
            "the time zone of the other fields, such as `Europe/Berlin`; `UTC` if not set",
        ),
        Field::new(
            "start",
            Shape::Text,
            "when the window of each day begins: `3:04 PM`, `3PM`, `15:04` or `1504`",
        ),
        Field::new("stop", Shape::Text, "when it has ended"),
        Field::new("days", Shape::List, "the days of the week, such as `Monday`"),
        Field::new(
            "initial_version",
            Shape::Flag,
            "a check without a version gives the present, whatever the window is",
        ),
        Field::new(
            "start_after",
            Shape::Text,
            "the instant after which versions begin: `2006-01-02T15:04:05`, or the beginning of this",
        ),
    ],
    get_params: &[],
    put_params: &[],
};

fn validate(source: &Value, _get: Option<&Value>, _put: Option<&Value>) -> Result<(), Invalid> {
    let source = Object::new("source", source).map_err(|error| (Place::Source, error))?;
    Window::parse(&source).map(drop).map_err(|error| (Place::Source, error))
}

/// A time as a version has it: an instant, and the difference to UTC with which it is written.
struct Time {
    instant: Timestamp,
    offset: Offset,
    text: String,
}

impl Time {
    fn new(instant: Timestamp, zone: Option<&TimeZone>) -> Self {
        match zone {
            None => Self { instant, offset: Offset::UTC, text: instant.to_string() },
            Some(zone) => {
                let offset = zone.to_offset(instant);
                Self { instant, offset, text: instant.display_with_offset(offset).to_string() }
            }
        }
    }

    fn parse(text: String) -> Result<Self, ResourceError> {
        let wrong = || {
            ResourceError::failed(format!(
                "`version.time` is `{}`, which is no time such as `2006-01-02T15:04:05Z`",
                printable(&text)
            ))
        };
        let instant: Timestamp = text.parse().map_err(|_| wrong())?;
        let pieces = Pieces::parse(&text).map_err(|_| wrong())?;
        let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
        Ok(Self { instant, offset, text })
    }

    fn version(&self) -> crate::protocol::Version {
        version("time", &*self.text)
    }
}

fn run(job: &Job<'_>) -> Result<Response, ResourceError> {
    let window = Window::parse(&job.source)?;
    let given = job.version.map(|version| version.text("time")).transpose()?.flatten();
    let given = given.map(Time::parse).transpose()?;
    let now = Time::new(Timestamp::now(), window.zone.as_ref());
    match job.action {
        Action::Check => {
            let found = check(&window, given, now);
            Ok(Response::Versions(found.iter().map(Time::version).collect()))
        }
        Action::In => {
            let time = given.unwrap_or(now);
            get(job, &time)?;
            Ok(Response::Made { version: time.version(), metadata: Vec::new() })
        }
        Action::Out => Ok(Response::Made { version: now.version(), metadata: Vec::new() }),
    }
}

fn check(window: &Window, given: Option<Time>, now: Time) -> Vec<Time> {
    if let Some(given) = given {
        let is_newer = window.is_next(given.instant, now.instant);
        return [given].into_iter().chain(is_newer.then_some(now)).collect();
    }
    if window.initial_version || window.has(now.instant) {
        return vec![now];
    }
    let last = window.last_before(now.instant);
    last.map(|last| Time::new(last, window.zone.as_ref())).into_iter().collect()
}

fn get(job: &Job<'_>, time: &Time) -> Result<(), ResourceError> {
    let directory = job.directory()?;
    destination::prepare(directory)?;
    // As the request was, but for what is unknown to the type.
    let input =
        serde_json::json!({ "source": job.request.source, "version": { "time": time.text } });
    destination::write(&directory.join("input"), format!("{input}\n"))?;
    let local = time.instant.to_zoned_datetime(TimeZone::fixed(time.offset));
    let name = if time.offset == Offset::UTC {
        "UTC".to_owned()
    } else {
        local.strftime("%z").to_string()
    };
    let stamp = format!("{} {name}", local.strftime("%Y-%m-%d %H:%M:%S%.f %z"));
    destination::write(&directory.join("timestamp"), stamp)?;
    destination::write(&directory.join("epoch"), time.instant.as_second().to_string())?;
    destination::write(&directory.join("time"), &time.text)
}

/// A duration in the notation of Go, such as `1h30m`.
pub fn duration(name: &str, text: &str) -> Result<Duration, ResourceError> {
    let wrong = || {
        ResourceError::failed(format!(
            "`{name}` is `{}`, which is no duration such as `1h30m` or `90s`",
            printable(text)
        ))
    };
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}
