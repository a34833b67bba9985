//! A run as one JSON object a line, described in `docs/events.md`.

use std::io::Write;
use std::time::SystemTime;

use super::reporter::Report;
use crate::event::{RunEvent, VERSION};

/// Events as they are, with the version and the time.
pub struct Json;

impl Report for Json {
    fn event(&mut self, event: &RunEvent, out: &mut Vec<u8>) {
        write(event, SystemTime::now(), out);
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

/// Appends `{"v":1,"event":…,"time":…}`.
fn write(event: &RunEvent, time: SystemTime, out: &mut Vec<u8>) {
    let start = out.len();
    // Reading the event's own object apart again is cheaper than a flattened field.
    let result = write!(out, r#"{{"v":{VERSION}"#).and_then(|()| {
        let object = out.len();
        serde_json::to_writer(&mut *out, event)?;
        out[object] = b',';
        out.pop();
        let time = humantime::format_rfc3339_millis(time);
        writeln!(out, r#","time":"{time}"}}"#)
    });
    // Neither a buffer in memory nor an event of strings and numbers can fail; if one did, no half
    // a line would be left.
    if result.is_err() {
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::reporter::events::*;
    use super::*;
    use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunStatus, TaskStatus};
    use crate::task::Stream;

    fn line(event: &RunEvent) -> String {
        let mut out = b"before\n".to_vec();
        write(event, UNIX_EPOCH + Duration::from_millis(1_795_399_200_123), &mut out);
        String::from_utf8(out).expect("JSON is UTF-8").split_off("before\n".len())
    }

    #[test]
    fn version_event_and_time_have_their_places() {
        assert_eq!(
            line(&finished(1, "build", TaskStatus::Success, Some(0), 12)),
            concat!(
                r#"{"v":1,"event":"task_finished","id":1,"task":"build","status":"success","#,
                r#""code":0,"duration_ms":12,"time":"2026-11-23T02:00:00.123Z"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn any_text_stays_on_its_line() {
        let text = "a\nb\0\u{2028}\x1b[1m\"\\\u{fffd}";
        let line = line(&output(1, "a\nb", Stream::Stderr, text));
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).expect("a JSON object");
        assert_eq!(value["text"], text);
        assert_eq!(value["task"], "a\nb");
        assert_eq!(value["stream"], "stderr");
    }

    /// The page is the contract: each of its example lines is what the code writes.
    #[test]
    fn the_documented_examples_are_real() {
        let page = include_str!("../../docs/events.md");
        let events = [
            RunEvent::RunStarted {
                run: "7d6e0f2a".into(),
                pipeline: "pipeline".into(),
                file: "pipeline.ts".into(),
                driver: "native".into(),
            },
            RunEvent::VolumeCreated { volume: "cache".into(), path: "/var/lib/ci/cache".into() },
            RunEvent::CacheRestoring {
                volume: "npm".into(),
                key: "app/npm.tar.zst".into(),
                bytes: 12 << 20,
            },
            RunEvent::CacheMiss {
                volume: "npm".into(),
                key: "app/npm.tar.zst".into(),
                reason: "no `app/npm.tar.zst`".into(),
            },
            RunEvent::CachePersisting { volume: "npm".into(), key: "app/npm.tar.zst".into() },
            RunEvent::CacheFinished(CacheReport {
                volume: "npm".into(),
                operation: CacheOperation::Persist,
                outcome: CacheOutcome::Uploaded,
                key: "app/npm.tar.zst".into(),
                bytes: 12 << 20,
                content_bytes: 40 << 20,
                duration_ms: 400,
                reason: String::new(),
            }),
            RunEvent::Warning { message: "the cache is not used: there is no bucket `ci`".into() },
            started(1, "build", &["make", "-j2"]),
            output(1, "build", Stream::Stdout, "cc -o main main.c\n"),
            finished(1, "build", TaskStatus::Failure, Some(2), 1_234),
            RunEvent::Console { stream: Stream::Stdout, text: "built 3 targets\n".into() },
            RunEvent::Notice { message: "the native driver ignores `image`".into() },
            run_finished(RunStatus::Failure, 1_300),
        ];
        for event in &events {
            let line = line(event);
            assert!(page.contains(&line), "docs/events.md lacks this line:\n{line}");
        }
    }
}
