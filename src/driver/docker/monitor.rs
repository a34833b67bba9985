//! Stays with a command from its start to its end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::diagnosis::{Diagnosis, Subject};
use super::failure::{failed, printable};
use super::init::{InitError, Report};
use super::output::{Output, Said, pump};
use super::process::{Process, Signal};
use crate::driver::{DriverError, TaskUpdate, UpdateSink};
use crate::task::{Stream, TaskExit, TaskSpec};

/// How long the output of a command that had to end waits for a listener.
const PATIENCE: Duration = Duration::from_secs(1);

/// The largest number of a signal.
const SIGNALS: i64 = 64;

/// Both ends of a command's streams.
pub struct Streams {
    pub output: Output,
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// A command, and who cares for it.
pub struct Monitor<'a> {
    pub spec: &'a TaskSpec,
    /// What goes to its standard input.
    pub read: Option<&'a [u8]>,
    pub grace: Duration,
    pub updates: UpdateSink,
    pub stop: Stop<'a>,
}

/// What ends a command early.
pub struct Stop<'a> {
    pub cancel: &'a CancellationToken,
    /// Fires when everything around the command is to end.
    pub closing: &'a CancellationToken,
    /// Ends when nobody waits for the result any more.
    pub abandoned: &'a mut oneshot::Receiver<()>,
}

impl Stop<'_> {
    pub async fn requested(&mut self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.closing.cancelled() => {}
            _ = &mut *self.abandoned => {}
        }
    }
}

/// How a command ended by itself.
pub struct CommandEnd {
    pub code: i64,
    said: Said,
    reports: bool,
    updates: UpdateSink,
}

impl Monitor<'_> {
    /// Passes everything on until the command has ended. `None` if it had to.
    pub async fn watch(
        self,
        process: &impl Process,
        streams: Streams,
    ) -> Result<Option<CommandEnd>, DriverError> {
        let Self { spec, read, grace, updates, stop } = self;
        let Stop { cancel, closing, abandoned } = stop;
        let path = &spec.exec.command.path;
        let lost = |error| failed(format!("lost task `{}`", spec.name), error);
        let (ended, drained) = (CancellationToken::new(), CancellationToken::new());
        let had_to_end = AtomicBool::new(false);
        let wait = async {
            let code = process.code(&drained).await;
            ended.cancel();
            code
        };
        let feed = feed(streams.input, read, &ended);
        // An engine does not notice the end of a container, nor answers questions about it, while its
        // output goes nowhere.
        let discard = CancellationToken::new();
        let pump = async {
            let said = pump(streams.output, path, &updates, &discard, process).await;
            drained.cancel();
            said
        };
        let work = async { tokio::join!(wait, feed, pump) };
        let end = async {
            let stopped = async {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = closing.cancelled() => {}
                }
            };
            tokio::select! {
                biased;
                () = ended.cancelled() => std::future::pending().await,
                () = stopped => {
                    had_to_end.store(true, Ordering::Relaxed);
                    // A slow engine must not shorten the time that a command has, nor use it up.
                    let asked = CancellationToken::new();
                    let ask = async {
                        process.signal(Signal::Term).await;
                        asked.cancel();
                        std::future::pending().await
                    };
                    let wait = async {
                        _ = tokio::time::timeout(PATIENCE, asked.cancelled()).await;
                        tokio::time::sleep(grace).await;
                    };
                    tokio::select! {
                        () = ended.cancelled() => {}
                        _ = &mut *abandoned => {}
                        () = wait => {}
                        () = ask => {}
                    }
                }
                _ = &mut *abandoned => had_to_end.store(true, Ordering::Relaxed),
            }
            let kill = async {
                process.signal(Signal::Kill).await;
                std::future::pending().await
            };
            let force = async {
                tokio::time::sleep(PATIENCE).await;
                discard.cancel();
                std::future::pending().await
            };
            tokio::select! {
                () = ended.cancelled() => {}
                () = kill => {}
                () = force => {}
            }
            tokio::time::sleep(PATIENCE).await;
        };
        let (code, said) = tokio::select! {
            (code, (), said) = work => (code.map_err(lost)?, said.map_err(lost)?),
            () = end => return Ok(None),
        };
        let reports = process.reports();
        Ok((!had_to_end.into_inner()).then_some(CommandEnd { code, said, reports, updates }))
    }
}

impl CommandEnd {
    /// What became of the command. What turns out to be its own output is handed over, for which nobody
    /// waits any more a while after `cancel` has fired.
    pub async fn exit(
        self,
        subject: &Subject<'_>,
        cancel: &CancellationToken,
    ) -> Result<TaskExit, DriverError> {
        let Self { code, said, reports, updates } = self;
        let spec = subject.spec;
        let cannot_start = |reason| {
            Err(DriverError::CannotStart { command: spec.exec.command.path.clone(), reason })
        };
        if let Some(text) = &said.engine {
            let text = printable(text);
            if text.contains("chdir to cwd") {
                let directory = spec.exec.work_dir.as_deref().unwrap_or(subject.directory);
                let reason = reason(&text).to_lowercase();
                return Err(DriverError::Refused(format!(
                    "working directory `{directory}`: {reason}"
                )));
            }
            let reason = reason(&text).to_lowercase();
            return cannot_start(format!("{reason} in the image `{}`", spec.container.image));
        }
        let path = &spec.exec.command.path;
        if let Some(held) = said.init_error {
            let init_error = InitError::read(&held, path);
            let fits = |init_error: &InitError| init_error.fits(path, code, reports, said.report);
            if let Some(init_error) = init_error.filter(fits)
                && let Diagnosis::NotExecuted(reason) = subject.of_reason(&init_error.reason).await
            {
                return cannot_start(reason);
            }
            // The command has written what looks like that.
            tokio::select! {
                _ = updates.send(TaskUpdate::Output(Stream::Stderr, held)) => {}
                () = async {
                    cancel.cancelled().await;
                    tokio::time::sleep(PATIENCE).await;
                } => {}
            }
        } else if matches!(said.report, Some(Report { code: Some(2 | 126 | 127), .. }))
            && let Diagnosis::NotExecuted(reason) = subject.of_shell(&said.beginning).await
        {
            return cannot_start(reason);
        }
        // The engine tells a signal as a shell does, which may also be a shell's own code.
        let is_signal = code > 128 && code - 128 <= SIGNALS;
        match said.report {
            Some(Report { code: Some(_), .. }) => Ok(TaskExit::Code(number(code))),
            Some(Report { code: None, .. }) | None if is_signal => {
                Ok(TaskExit::Signal(number(code - 128)))
            }
            _ => Ok(TaskExit::Code(number(code))),
        }
    }
}

/// The reason in what the engine says, such as `exec failed: no such file or directory: unknown`.
pub fn reason(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(": unknown");
    text.rsplit_once("failed: ").map_or(text, |(_, reason)| reason)
}

fn number(code: i64) -> i32 {
    i32::try_from(code).unwrap_or(i32::MAX)
}

/// Writes what the command is to read, as fast as it reads.
async fn feed(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    bytes: Option<&[u8]>,
    ended: &CancellationToken,
) {
    let Some(bytes) = bytes else { return };
    let write = async {
        // A command that does not read to the end has made its choice.
        if input.write_all(bytes).await.is_ok() {
            _ = input.shutdown().await;
        }
    };
    tokio::select! {
        () = write => {}
        () = ended.cancelled() => {}
    }
}
