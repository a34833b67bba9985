//! A run as lines of text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::cache;
use super::command::one_line;
use super::count::counted;
use super::duration::human;
use super::label::{Labels, escape};
use super::lines::Lines;
use super::prefix::Prefix;
use super::render::Report;
use super::size::human_size;
use super::style::{self, Paint};
use super::summary::{Row, Summary};
use crate::event::{Event, RunEvent, TaskStatus};
use crate::task::Stream;

/// Plain text, with or without colour.
pub struct Plain {
    paint: Paint,
    labels: Labels,
    /// The tasks that are running, by id.
    tasks: BTreeMap<u64, Task>,
    summary: Summary,
}

struct Task {
    label: String,
    style: anstyle::Style,
    /// When its start was told; one that is only known by its output has none.
    started: Option<Instant>,
    stdout: Lines,
    stderr: Lines,
}

impl Plain {
    pub fn new(color: bool) -> Self {
        Self {
            paint: Paint { color },
            labels: Labels::default(),
            tasks: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    /// The labels of the tasks that are running, by id.
    pub fn running(&self) -> impl ExactSizeIterator<Item = (u64, &str)> {
        self.tasks.iter().map(|(id, task)| (*id, task.label.as_str()))
    }

    fn task(&mut self, id: u64, name: &str) -> &mut Task {
        let Self { paint, labels, tasks, .. } = self;
        tasks.entry(id).or_insert_with(|| Task::new(labels.take(name, id), name, *paint))
    }

    /// One of the runner's own lines about a task.
    fn say(&self, task: &Task, style: anstyle::Style, mark: char, text: &str, out: &mut Vec<u8>) {
        let label = self.paint.text(task.style, &format!("[{}]", task.label));
        let mark = self.paint.text(style, &mark.to_string());
        let text = self.paint.text(style, text);
        out.extend_from_slice(format!("{mark} {label} {text}\n").as_bytes());
    }

    /// Something that is about no task in particular.
    fn remark(&self, style: anstyle::Style, word: &str, message: &str, out: &mut Vec<u8>) {
        let word = self.paint.text(style, word);
        out.extend_from_slice(format!("{word} {}\n", escape(message)).as_bytes());
    }

    fn started(&mut self, id: u64, name: &str, command: &[String], out: &mut Vec<u8>) {
        self.task(id, name).started = Some(Instant::now());
        if let Some(task) = self.tasks.get(&id) {
            let text = format!("started: {}", one_line(command));
            self.say(task, style::QUIET, '*', &text, out);
        }
    }

    /// Counts the tasks that the run ended without: nobody knows how they would have ended.
    fn unfinished(&mut self) {
        for (id, task) in self.tasks.iter().filter(|(_, task)| task.started.is_some()) {
            let row = Row {
                label: task.label.clone(),
                status: TaskStatus::Abort,
                retried: false,
                code: "-".to_owned(),
                duration: task.started.map_or(Duration::ZERO, |started| started.elapsed()),
            };
            self.summary.add(*id, row);
        }
    }

    fn finished(&mut self, id: u64, name: &str, end: &End, out: &mut Vec<u8>) {
        self.task(id, name);
        let Some(mut task) = self.tasks.remove(&id) else { return };
        task.end(out);
        self.labels.release(&task.label);
        let (style, mark) = match end.status {
            TaskStatus::Success => (style::GOOD, '*'),
            _ => (style::BAD, '!'),
        };
        self.say(&task, style, mark, &end.text(), out);
        let row = Row {
            label: task.label,
            status: end.status,
            retried: end.retried,
            code: end.code_cell(),
            duration: end.duration,
        };
        self.summary.add(id, row);
    }
}

impl Plain {
    /// Appends what there is to say about an event.
    pub fn tell(&mut self, event: &RunEvent, out: &mut Vec<u8>) {
        match event {
            // Of interest to programs; a reader sees the tasks.
            RunEvent::RunStarted { .. }
            | RunEvent::VolumeCreated { .. }
            | RunEvent::SandboxOpened { .. }
            | RunEvent::SandboxClosed { .. }
            | RunEvent::CacheProgress { .. }
            | RunEvent::JobStarted { .. }
            | RunEvent::JobFinished { .. }
            | RunEvent::JobSkipped { .. }
            | RunEvent::StepStarted { .. }
            | RunEvent::StepFinished { .. }
            | RunEvent::SourceImported { .. }
            | RunEvent::TaskQueued { .. } => {}
            // Shown while it lasts, by reports that can do that.
            RunEvent::TaskPreparing { id, task, .. } => _ = self.task(*id, task),
            RunEvent::TaskSkipped { id, task, reason } => {
                let label = self.task(*id, task).label.clone();
                if let Some(task) = self.tasks.remove(id) {
                    self.say(
                        &task,
                        style::QUIET,
                        '*',
                        &format!("skipped: {}", escape(reason)),
                        out,
                    );
                }
                self.labels.release(&label);
            }
            RunEvent::TaskStarted { id, task, command, .. } => {
                self.started(*id, task, command, out);
            }
            RunEvent::TaskOutput { id, task, stream, text } => {
                self.task(*id, task).stream(*stream).push(text, out);
            }
            RunEvent::TaskFinished {
                id,
                task,
                status,
                code,
                signal,
                duration_ms,
                message,
                retried,
            } => {
                let end = End {
                    retried: *retried,
                    status: *status,
                    code: *code,
                    signal: *signal,
                    duration: Duration::from_millis(*duration_ms),
                    message,
                };
                self.finished(*id, task, &end, out);
            }
            RunEvent::Console { text, .. } => Lines::all(text, self.paint.color, out),
            RunEvent::CacheRestoring { .. }
            | RunEvent::CacheMiss { .. }
            | RunEvent::CachePersisting { .. } => {
                if let Some(text) = cache::line(event) {
                    let text = self.paint.text(style::QUIET, &text);
                    out.extend_from_slice(format!("{text}\n").as_bytes());
                }
            }
            RunEvent::ArtifactPublished { name, path, files, bytes } => {
                let size = human_size(*bytes);
                let files = counted(*files, "file", "files");
                let text =
                    format!("* artifact `{}`: {files}, {size}, {}", escape(name), escape(path));
                let text = self.paint.text(style::QUIET, &text);
                out.extend_from_slice(format!("{text}\n").as_bytes());
                self.summary.add_artifact(name, path, *bytes);
            }
            RunEvent::CacheFinished(report) => self.summary.add_cache(report.clone()),
            RunEvent::Notice { message } => self.remark(style::NOTICE, "notice:", message, out),
            RunEvent::Warning { message } => self.remark(style::BAD, "warning:", message, out),
            RunEvent::RunFinished { status, duration_ms, .. } => {
                self.unfinished();
                self.end(out);
                let duration = Duration::from_millis(*duration_ms);
                let text = self.summary.render(*status, duration, self.paint);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

impl Report for Plain {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.tell(&event.kind, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        for task in self.tasks.values_mut() {
            task.end(out);
        }
        self.tasks.clear();
    }
}

impl Task {
    fn new(label: String, name: &str, paint: Paint) -> Self {
        let style = style::task(name);
        let lines = |style| {
            let prefix = paint.text(style, &format!("[{label}]"));
            Lines::new(Prefix::new(&format!("{prefix} ")), paint.color)
        };
        Self { stdout: lines(style), stderr: lines(style.dimmed()), label, style, started: None }
    }

    fn stream(&mut self, stream: Stream) -> &mut Lines {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.stdout.end(out);
        self.stderr.end(out);
    }
}

/// How a task ended.
struct End<'a> {
    status: TaskStatus,
    code: Option<i32>,
    signal: Option<&'static str>,
    duration: Duration,
    message: &'a str,
    retried: bool,
}

impl End<'_> {
    fn text(&self) -> String {
        let duration = human(self.duration);
        let mut text = match self.status {
            TaskStatus::Success => format!("finished in {duration}"),
            TaskStatus::Failure => match (self.signal, self.code) {
                (Some(signal), Some(code)) => {
                    format!("failed in {duration}: ended by {signal} (exit code {code})")
                }
                (Some(signal), None) => format!("failed in {duration}: ended by {signal}"),
                (None, Some(code)) => format!("failed in {duration}: exit code {code}"),
                (None, None) => format!("failed in {duration}"),
            },
            TaskStatus::Abort => format!("aborted after {duration}"),
            TaskStatus::Error => "could not be run".to_owned(),
        };
        if !self.message.is_empty() {
            text.push_str(": ");
            text.push_str(&escape(self.message));
        }
        if self.retried {
            text.push_str(", is tried again");
        }
        text
    }

    fn code_cell(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), Some(signal)) => format!("{code} ({signal})"),
            (Some(code), None) => code.to_string(),
            (None, Some(signal)) => signal.to_owned(),
            (None, None) => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reporter::events::*;
    use super::*;
    use crate::event::RunStatus;

    fn report(color: bool, events: &[RunEvent]) -> String {
        let mut plain = Plain::new(color);
        let mut out = Vec::new();
        for event in events {
            plain.tell(event, &mut out);
        }
        plain.end(&mut out);
        String::from_utf8(out).expect("text in, text out")
    }

    #[test]
    fn a_run_reads_as_a_log() {
        let events = [
            started(1, "build", &["make", "-j2"]),
            output(1, "build", Stream::Stdout, "cc -o main"),
            output(1, "build", Stream::Stderr, "warning: old\n"),
            output(1, "build", Stream::Stdout, " main.c\nlast"),
            finished(1, "build", TaskStatus::Success, Some(0), 1_200),
            run_finished(RunStatus::Success, 3_400),
        ];
        assert_eq!(
            report(false, &events),
            "\
* [build] started: make -j2
[build] warning: old
[build] cc -o main main.c
[build] last
* [build] finished in 1.2s

TASK   STATUS   CODE  DURATION
build  success  0     1.2s

run succeeded in 3.4s: 1 task
"
        );
    }

    #[test]
    fn every_end_says_what_happened() {
        let end = |status, code, signal, message| {
            let event = RunEvent::TaskFinished {
                id: 1,
                task: "a".into(),
                status,
                code,
                signal,
                duration_ms: 30_000,
                message: String::from(message),
                retried: false,
            };
            report(false, &[event])
        };
        let ends = [
            (end(TaskStatus::Failure, Some(2), None, ""), "! [a] failed in 30s: exit code 2\n"),
            (
                end(TaskStatus::Failure, Some(137), Some("SIGKILL"), ""),
                "! [a] failed in 30s: ended by SIGKILL (exit code 137)\n",
            ),
            (
                end(TaskStatus::Abort, Some(143), Some("SIGTERM"), "timed out after 30s"),
                "! [a] aborted after 30s: timed out after 30s\n",
            ),
            (
                end(TaskStatus::Error, None, None, "no `cc`\nin `PATH`"),
                "! [a] could not be run: no `cc`\\nin `PATH`\n",
            ),
        ];
        for (found, expected) in ends {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_task_cannot_imitate_the_runner() {
        let fake = "* [a] finished in 1s\n\r\x1b[1A* [a] finished in 1s\r\n";
        for color in [false, true] {
            let text = report(color, &[output(1, "a", Stream::Stdout, fake)]);
            let prefix = if color { "\x1b[" } else { "[a] " };
            assert!(text.lines().all(|line| line.starts_with(prefix)), "{text}");
        }
    }

    #[test]
    fn live_tasks_of_one_name_are_told_apart() {
        let text = report(
            false,
            &[
                started(1, "a", &["x"]),
                started(7, "a", &["x"]),
                output(7, "a", Stream::Stdout, "seven\n"),
                output(1, "a", Stream::Stdout, "one\n"),
                finished(1, "a", TaskStatus::Success, Some(0), 1),
                finished(7, "a", TaskStatus::Success, Some(0), 1),
                started(8, "a", &["x"]),
            ],
        );
        let expected = "\
* [a] started: x
* [a#7] started: x
[a#7] seven
[a] one
* [a] finished in 1ms
* [a#7] finished in 1ms
* [a] started: x
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_pipeline_speaks_without_a_prefix() {
        let console = |text: &str| RunEvent::Console { stream: Stream::Stderr, text: text.into() };
        let notice = RunEvent::Notice { message: "`image` is ignored".into() };
        let text = report(false, &[console("\x1b[31mone\x1b[0m\n\n"), console("two"), notice]);
        assert_eq!(text, "one\n\ntwo\nnotice: `image` is ignored\n");
    }

    #[test]
    fn output_is_not_lost_when_a_task_never_ends() {
        let events = [output(1, "a", Stream::Stdout, "half"), run_finished(RunStatus::Abort, 1)];
        assert_eq!(report(false, &events), "[a] half\nrun aborted after 1ms: no tasks\n");
        assert_eq!(report(false, &events[..1]), "[a] half\n");
        let events = [started(1, "a", &["x"]), run_finished(RunStatus::Abort, 1)];
        let text = report(false, &events);
        assert!(text.contains("\na     abort   -     "), "{text}");
        assert!(text.ends_with("run aborted after 1ms: 1 task, 1 aborted\n"), "{text}");
    }

    #[test]
    fn color_tells_tasks_and_streams_apart() {
        let line = |task, stream| report(true, &[output(1, task, stream, "x\n")]);
        let build = line("build", Stream::Stdout);
        assert!(build.starts_with("\x1b[") && build.ends_with("m[build]\x1b[0m x\n"), "{build:?}");
        assert_eq!(build, line("build", Stream::Stdout));
        assert_ne!(build, line("build", Stream::Stderr));
        assert_ne!(build.replace("build", "test"), line("test", Stream::Stdout));
    }
}
