//! The threads that read the events of a run and write its output and its logs.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, timeout_at};

use super::Format;
use super::json::Json;
use super::plain::Plain;
use super::render::Report;
use super::sink::Sink;
use super::tty::Tty;
use crate::event::{Delivery, Event, Log, Message, Pause, RunEvent, dispatch};
use crate::stop::Stop;

/// Text is written when it is this long, at the latest.
const FULL: usize = 64 * 1024;

/// Writes the events of a run to the standard output and to files.
///
/// The events are read to the end whatever happens to the output, so that a run never waits for a
/// reader that has gone.
pub struct Reporter {
    output: Writer,
    files: Vec<(PathBuf, Writer)>,
}

/// A thread that writes one report.
type Writer = JoinHandle<io::Result<()>>;

#[derive(Debug, Error)]
pub enum ReportError {
    /// Whoever read the output had enough of it, as in `ci run pipeline.ts | head -1`.
    #[error("the standard output was closed")]
    Closed,
    #[error("could not write to the standard output: {0}")]
    Write(#[source] io::Error),
    #[error("could not write all events to `{}`: {error}", path.display())]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

impl Reporter {
    /// Starts to read, up to the event that ends the run, or until every sender is gone. `files` get all
    /// events as JSON. Has to be called in a tokio runtime.
    pub fn start(
        format: Format,
        files: Vec<(PathBuf, File)>,
        events: Receiver<Message>,
        stop: Arc<Stop>,
    ) -> io::Result<Self> {
        // Not `io::stdout()`, which would cut what it is given at the last line end and copy the
        // rest.
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let (log, deliveries) = Log::output();
        let output = write_to(stdout, format, deliveries, log.broken())?;
        let mut logs = vec![log];
        let mut writers = Vec::new();
        for (path, file) in files {
            let (log, deliveries) = Log::file(format!("`{}`", path.display()), false);
            let writer = write_to(file, Format::Json, deliveries, log.broken())?;
            logs.push(log);
            writers.push((path, writer));
        }
        tokio::spawn(dispatch(events, logs, stop));
        Ok(Self { output, files: writers })
    }

    /// Waits until every event is written, whatever has become of one of the logs.
    pub fn finish(self) -> Result<(), ReportError> {
        let files: Vec<_> =
            self.files.into_iter().map(|(path, writer)| (path, finish(writer))).collect();
        let output = finish(self.output);
        for (path, written) in files {
            written.map_err(|error| ReportError::File { path, error })?;
        }
        match output {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReportError::Closed),
            output => output.map_err(ReportError::Write),
        }
    }
}

fn finish(writer: Writer) -> io::Result<()> {
    let panicked = |_| Err(io::Error::other("the reporter panicked"));
    writer.join().unwrap_or_else(panicked)
}

fn write_to(
    file: File,
    format: Format,
    events: Receiver<Delivery>,
    broken: Arc<OnceLock<String>>,
) -> io::Result<Writer> {
    let timer = Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("reporter".to_owned()).spawn(move || {
        let mut report: Box<dyn Report> = match format {
            Format::Json => Box::new(Json),
            Format::Plain { color } => Box::new(Plain::new(color)),
            Format::Tty { color } => {
                let terminal = file.try_clone()?;
                Box::new(Tty::new(color, move || Tty::size(&terminal)))
            }
        };
        drain(&mut *report, events, &timer, Sink::new(file, broken))
    })
}

fn drain<W: Write>(
    report: &mut dyn Report,
    mut events: Receiver<Delivery>,
    timer: &Runtime,
    mut sink: Sink<W>,
) -> io::Result<()> {
    let mut text = Vec::with_capacity(2 * FULL);
    let mut next_frame = Instant::now();
    loop {
        // While there is nothing to read, it is time to show what there is.
        let pending = !text.is_empty() || report.is_moving();
        match next(&mut events, timer, pending.then_some(next_frame)) {
            Next::Event(event) => {
                report.event(&event, &mut text);
                if matches!(event.kind, RunEvent::RunFinished { .. }) {
                    break;
                }
                if text.len() < FULL {
                    continue;
                }
            }
            Next::Pause(Pause { begun, over }) => {
                report.pause(&mut text);
                sink.write(&mut text);
                _ = begun.send(());
                _ = over.blocking_recv();
                continue;
            }
            Next::Frame => {}
            Next::End => break,
        }
        report.frame(&mut text);
        sink.write(&mut text);
        next_frame = Instant::now() + report.interval();
    }
    report.end(&mut text);
    report.frame(&mut text);
    sink.write(&mut text);
    sink.finish()
}

enum Next {
    Event(Arc<Event>),
    Pause(Pause),
    /// No event came before the next frame was due.
    Frame,
    End,
}

fn next(events: &mut Receiver<Delivery>, timer: &Runtime, frame: Option<Instant>) -> Next {
    let received = match (events.try_recv(), frame) {
        (Ok(event), _) => Some(event),
        (Err(TryRecvError::Disconnected), _) => None,
        (Err(TryRecvError::Empty), None) => events.blocking_recv(),
        (Err(TryRecvError::Empty), Some(at)) if at <= Instant::now() => return Next::Frame,
        (Err(TryRecvError::Empty), Some(at)) => {
            match timer.block_on(async { timeout_at(at, events.recv()).await }) {
                Ok(received) => received,
                Err(_) => return Next::Frame,
            }
        }
    };
    match received {
        Some(Delivery::Event(event)) => Next::Event(event),
        Some(Delivery::Pause(pause)) => Next::Pause(pause),
        None => Next::End,
    }
}

/// Events for tests.
#[cfg(test)]
pub mod events {
    use std::sync::Arc;

    use super::RunEvent;
    use crate::event::{RunStatus, TaskStatus};
    use crate::task::Stream;

    pub fn started(id: u64, task: &str, command: &[&str]) -> RunEvent {
        let command = command.iter().map(ToString::to_string).collect();
        RunEvent::TaskStarted { id, task: task.into(), image: String::new(), command }
    }

    pub fn output(id: u64, task: &str, stream: Stream, text: &str) -> RunEvent {
        RunEvent::TaskOutput { id, task: task.into(), stream, text: Arc::new(text.into()) }
    }

    pub fn finished(
        id: u64,
        task: &str,
        status: TaskStatus,
        code: Option<i32>,
        duration_ms: u64,
    ) -> RunEvent {
        RunEvent::TaskFinished {
            id,
            task: task.into(),
            status,
            code,
            signal: None,
            duration_ms,
            message: String::new(),
            retried: false,
        }
    }

    pub fn run_finished(status: RunStatus, duration_ms: u64) -> RunEvent {
        let exit_code = u8::from(status != RunStatus::Success);
        RunEvent::RunFinished { status, exit_code, duration_ms, error: None, diagnostic: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use tokio::sync::{mpsc, oneshot};

    use super::events::*;
    use super::*;
    use crate::event::RunStatus;
    use crate::task::Stream;

    /// A writer whose text, write by write, can be looked at from outside.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<String>>>);

    impl Writes {
        fn all(&self) -> Vec<String> {
            self.0.lock().expect("no panic").clone()
        }
    }

    impl Write for Writes {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let text_is_utf8 = String::from_utf8_lossy(text).into_owned();
            self.0.lock().expect("no panic").push(text_is_utf8);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn timer() -> Runtime {
        Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    /// As the only log delivers it.
    fn delivery(kind: RunEvent) -> Delivery {
        let (at, elapsed) = (SystemTime::UNIX_EPOCH, Duration::ZERO);
        Delivery::Event(Arc::new(Event { seq: 1, at, elapsed, kind }))
    }

    fn sink(writes: &Writes) -> Sink<Writes> {
        Sink::new(writes.clone(), Arc::default())
    }

    fn reporter_to(file: File, events: Receiver<Delivery>) -> Reporter {
        let format = Format::Plain { color: false };
        let output = write_to(file, format, events, Arc::default()).expect("a thread");
        Reporter { output, files: Vec::new() }
    }

    fn device(path: &str) -> File {
        File::options().write(true).open(path).expect("a device")
    }

    #[test]
    fn a_flood_is_batched() {
        let (sender, events) = mpsc::channel(1000);
        for _ in 0..1000 {
            let line = output(1, "a", Stream::Stdout, &("x".repeat(196) + "\n"));
            sender.blocking_send(delivery(line)).expect("room");
        }
        drop(sender);
        let writes = Writes::default();
        drain(&mut Plain::new(false), events, &timer(), sink(&writes)).expect("memory");
        let writes = writes.all();
        assert_eq!(writes.concat(), format!("[a] {}\n", "x".repeat(196)).repeat(1000));
        assert_eq!(writes.len(), 201_000_usize.div_ceil(FULL));
    }

    #[test]
    fn a_single_line_is_written_at_once() {
        let (sender, events) = mpsc::channel(1);
        let writes = Writes::default();
        let sink = sink(&writes);
        let reporter = thread::spawn(move || drain(&mut Plain::new(false), events, &timer(), sink));
        sender.blocking_send(delivery(output(1, "a", Stream::Stdout, "x\n"))).expect("a reader");
        while writes.all().is_empty() {
            thread::yield_now();
        }
        assert_eq!(writes.all(), ["[a] x\n"]);
        drop(sender);
        reporter.join().expect("no panic").expect("memory");
    }

    #[test]
    fn a_status_moves_without_events() {
        let (sender, events) = mpsc::channel(1);
        let writes = Writes::default();
        let sink = sink(&writes);
        let reporter = thread::spawn(move || {
            drain(&mut Tty::new(false, || Some((80, 24))), events, &timer(), sink)
        });
        sender.blocking_send(delivery(started(1, "a", &["x"]))).expect("a reader");
        while writes.all().len() < 3 {
            thread::yield_now();
        }
        assert_eq!(writes.all()[2], "\r\x1b[J⠹ a");
        drop(sender);
        reporter.join().expect("no panic").expect("memory");
        assert_eq!(writes.all().last().map(String::as_str), Some("\r\x1b[J"));
    }

    #[test]
    fn a_pause_begins_when_all_is_written_and_ends_when_it_is_let_go() {
        let (sender, events) = mpsc::channel(3);
        let writes = Writes::default();
        let sink = sink(&writes);
        let reporter = thread::spawn(move || {
            drain(&mut Tty::new(false, || Some((80, 24))), events, &timer(), sink)
        });
        let (begun, begins) = oneshot::channel();
        let (ends, over) = oneshot::channel();
        sender.blocking_send(delivery(started(1, "a", &["x"]))).expect("a reader");
        sender.blocking_send(Delivery::Pause(Pause { begun, over })).expect("a reader");
        begins.blocking_recv().expect("a pause");
        sender.blocking_send(delivery(output(1, "a", Stream::Stdout, "x\n"))).expect("a reader");
        let before = writes.all();
        let shown = |text: &str| {
            let mut terminal = vt100::Parser::new(24, 80, 0);
            terminal.process(text.replace('\n', "\r\n").as_bytes());
            terminal.screen().contents()
        };
        assert_eq!(shown(&before.concat()), "* [a] started: x");
        assert_eq!(writes.all(), before);
        drop(ends);
        drop(sender);
        reporter.join().expect("no panic").expect("memory");
        assert_eq!(shown(&writes.all().concat()), "* [a] started: x\n[a] x");
    }

    #[test]
    fn the_last_event_is_the_end_whoever_could_still_send() {
        let (sender, events) = mpsc::channel(2);
        let reporter = reporter_to(device("/dev/null"), events);
        sender.blocking_send(delivery(run_finished(RunStatus::Success, 1))).expect("a reader");
        reporter.finish().expect("a device that takes everything");
        drop(sender);
    }

    #[test]
    fn events_are_read_although_the_disk_is_full() {
        let (sender, events) = mpsc::channel(1);
        let reporter = reporter_to(device("/dev/full"), events);
        for _ in 0..1000 {
            let line = output(1, "a", Stream::Stdout, &("x".repeat(1000) + "\n"));
            sender.blocking_send(delivery(line)).expect("a reader");
        }
        drop(sender);
        let error = reporter.finish().expect_err("no room");
        assert!(
            matches!(error, ReportError::Write(error) if error.kind() == ErrorKind::StorageFull)
        );
    }

    #[test]
    fn a_reader_that_left_is_told_from_other_errors() {
        let (sender, events) = mpsc::channel(1);
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let reporter = reporter_to(File::from(std::os::fd::OwnedFd::from(writer)), events);
        sender.blocking_send(delivery(output(1, "a", Stream::Stdout, "x\n"))).expect("a reader");
        drop(sender);
        assert!(matches!(reporter.finish(), Err(ReportError::Closed)));
    }
}
