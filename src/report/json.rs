//! A run as one JSON object a line, described in `docs/events.md`.

use std::io::{self, Write};

use memchr::memchr2;
use serde::Serialize;
use serde_json::ser::Formatter;

use super::render::Report;
use crate::event::{Event, VERSION};

/// Events as they are, after the version, their number and their times.
pub struct Json;

impl Report for Json {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        write(event, out);
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

/// Appends `{"v":2,"seq":…,"time":…,"elapsed_ms":…,"event":…}`.
fn write(event: &Event, out: &mut Vec<u8>) {
    let Event { seq, at, elapsed, kind } = event;
    let start = out.len();
    // Reading the event's own object apart again is cheaper than a flattened field.
    let (time, elapsed) = (humantime::format_rfc3339_millis(*at), elapsed.as_millis());
    let head = write!(out, r#"{{"v":{VERSION},"seq":{seq},"time":"{time}","elapsed_ms":{elapsed}"#);
    let result = head.and_then(|()| {
        let object = out.len();
        write_json(kind, out)?;
        out[object] = b',';
        writeln!(out)
    });
    // Neither a buffer in memory nor an event of strings and numbers can fail; if one did, no half
    // a line would be left.
    if result.is_err() {
        out.truncate(start);
    }
}

/// Appends a value as JSON that does nothing to a terminal: control characters that JSON allows in a
/// text are escaped too.
fn write_json(value: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Printable))
}

/// A value as JSON that does nothing to a terminal.
pub fn json_text(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    match write_json(value, &mut out) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// JSON itself only escapes what is below U+0020.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment.as_bytes();
        // DEL, and the first byte of U+0080 to U+009F.
        while let Some(at) = memchr2(0x7f, 0xc2, rest) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before)?;
            let len = match from {
                [0x7f, ..] => {
                    writer.write_all(br"\u007f")?;
                    1
                }
                [0xc2, low @ 0x80..=0x9f, ..] => {
                    write!(writer, r"\u00{low:02x}")?;
                    2
                }
                _ => {
                    writer.write_all(&from[..1])?;
                    1
                }
            };
            rest = &from[len..];
        }
        writer.write_all(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::reporter::events::*;
    use super::*;
    use crate::event::{
        CacheOperation, CacheOutcome, CacheReport, RunEvent, RunStart, RunStatus, TaskStatus,
    };
    use crate::task::Stream;
    use diagnostic::{Diagnostic, Place};

    fn line(kind: &RunEvent) -> String {
        let mut out = b"before\n".to_vec();
        let event = Event {
            seq: 7,
            at: UNIX_EPOCH + Duration::from_millis(1_795_399_200_123),
            elapsed: Duration::from_millis(1_250),
            kind: kind.clone(),
        };
        write(&event, &mut out);
        String::from_utf8(out).expect("JSON is UTF-8").split_off("before\n".len())
    }

    #[test]
    fn version_number_and_times_come_first() {
        assert_eq!(
            line(&finished(1, "build", TaskStatus::Success, Some(0), 12)),
            concat!(
                r#"{"v":2,"seq":7,"time":"2026-11-23T02:00:00.123Z","elapsed_ms":1250,"#,
                r#""event":"task_finished","id":1,"task":"build","status":"success","#,
                r#""code":0,"duration_ms":12}"#,
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

    #[test]
    fn no_control_character_reaches_a_terminal() {
        let text = "\u{7f}\u{80}a\u{9b}2J\u{9f}\u{a0}\u{e9}\x1b\u{2028}";
        let line = line(&output(1, text, Stream::Stdout, text));
        assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("a JSON object");
        assert_eq!(value["text"], text);
        assert_eq!(
            json_text(&text),
            r#""\u007f\u0080a\u009b2J\u009f"#.to_owned() + "\u{a0}\u{e9}\\u001b\u{2028}\""
        );
    }

    /// The page is the contract: each of its example lines is what the code writes.
    #[test]
    fn the_documented_examples_are_real() {
        let page = include_str!("../../docs/events.md");
        let events = [
            RunEvent::RunStarted(Box::new(RunStart {
                run: "7d6e0f2a".into(),
                pipeline: "pipeline".into(),
                file: "ci/pipeline.ts".into(),
                driver: "native".into(),
                version: "0.1.0",
                host: "laptop".into(),
                args: vec!["run".into(), "ci/pipeline.ts".into()],
                project: "/home/me/project".into(),
                commit: Some("9f2c1d0e5b7a4c3f8e6d2b1a0c9f8e7d6b5a4c3f".into()),
            })),
            RunEvent::JobStarted { job: "unit".into() },
            RunEvent::JobFinished {
                job: "unit".into(),
                status: TaskStatus::Failure,
                reasons: vec!["`test`: exit code 1".into()],
            },
            RunEvent::JobSkipped {
                job: "deploy".into(),
                reason: "a job that it waits for did not succeed".into(),
            },
            RunEvent::StepStarted {
                job: "unit".into(),
                step: 3,
                action: "task".into(),
                name: "test".into(),
                attempt: 1,
            },
            RunEvent::StepFinished { job: "unit".into(), step: 3, status: TaskStatus::Success },
            RunEvent::VolumeCreated { volume: "cache".into(), path: "/var/lib/ci/cache".into() },
            RunEvent::SourceImported {
                volume: "volume-1".into(),
                files: 214,
                bytes: 3 << 20,
                duration_ms: 25,
            },
            RunEvent::ArtifactPublished {
                name: "dist".into(),
                path: "/home/me/project/ci-artifacts/dist".into(),
                files: 12,
                bytes: 1 << 20,
            },
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
            RunEvent::CacheProgress {
                volume: "npm".into(),
                operation: CacheOperation::Persist,
                bytes: 4 << 20,
            },
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
            RunEvent::TaskQueued {
                id: 1,
                task: "build".into(),
                image: String::new(),
                command: vec!["make".into(), "-j2".into()],
                step: None,
            },
            RunEvent::TaskPreparing {
                id: 1,
                task: "build".into(),
                what: "pulling image `node:22`".into(),
                done: Some(0.25),
            },
            RunEvent::TaskSkipped {
                id: 1,
                task: "build".into(),
                reason: "cancelled by the pipeline".into(),
            },
            RunEvent::SandboxOpened {
                sandbox: "ci-7d6e0f2a-3".into(),
                name: "database".into(),
                image: "postgres:17".into(),
            },
            RunEvent::SandboxClosed { sandbox: "ci-7d6e0f2a-3".into(), name: "database".into() },
            started(1, "build", &["make", "-j2"]),
            output(1, "build", Stream::Stdout, "cc -o main main.c\n"),
            finished(1, "build", TaskStatus::Failure, Some(2), 1_234),
            RunEvent::Console { stream: Stream::Stdout, text: "built 3 targets\n".into() },
            RunEvent::Notice { message: "the native driver ignores `image`".into() },
            RunEvent::RunFinished {
                status: RunStatus::Failure,
                exit_code: 1,
                duration_ms: 1_300,
                error: Some("error: Error: no tests".into()),
                diagnostic: Some(Box::new(Diagnostic {
                    place: Some(Place {
                        path: "ci/pipeline.ts".into(),
                        line: 9,
                        column: 11,
                        text: "    throw new Error(\"no tests\");".into(),
                    }),
                    ..Diagnostic::new("Error: no tests")
                })),
            },
        ];
        for event in &events {
            let line = line(event);
            assert!(page.contains(&line), "docs/events.md lacks this line:\n{line}");
        }
    }
}
