//! The way of a task's output to the log, to `onOutput` and into the result.
//!
//! The log has it without secrets. The result is the task's own output, as it is: a pipeline that asks a task
//! for a token gets that token.

use std::sync::Arc;
use std::time::Duration;

use mask::Masker;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::driver::TaskUpdate;
use crate::event::EventSink;
use crate::event::RunEvent;
use crate::process::masking;
use crate::process::memory::Share;
use crate::task::{Stream, TaskId, TaskSpec};
use crate::task_runner::text::{Capture, Decoder};

/// How much of each stream a result carries, in bytes.
const CAPTURE_LIMIT: usize = 16 * 1024 * 1024;

/// How long a cancelled task's output waits for an `onOutput` that does not return.
const PATIENCE: Duration = Duration::from_secs(1);

/// A chunk of what a task wrote, whole characters only.
pub type TextChunk = (Stream, Arc<String>);

/// The way of a task's output to the log, to `onOutput` and into the result.
pub struct TaskOutput {
    log: TaskLog,
    listener: Option<mpsc::Sender<TextChunk>>,
    cancel: CancellationToken,
    stdout: Capture,
    stderr: Capture,
    memory: Option<Share>,
}

impl TaskOutput {
    pub fn new(
        spec: &TaskSpec,
        events: EventSink,
        listener: Option<mpsc::Sender<TextChunk>>,
        cancel: CancellationToken,
        memory: Option<Share>,
    ) -> Self {
        Self {
            log: TaskLog {
                id: spec.id,
                task: spec.name.clone(),
                events,
                stdout: LogStream::new(),
                stderr: LogStream::new(),
            },
            listener,
            cancel,
            stdout: Capture::new(CAPTURE_LIMIT),
            stderr: Capture::new(CAPTURE_LIMIT),
            memory,
        }
    }

    pub async fn take(&mut self, (stream, bytes): (Stream, Vec<u8>)) {
        let masked = self.log.stream(stream).masked(&bytes);
        let text = self.log.stream(stream).decoder.push(bytes);
        self.deliver(stream, text, masked).await;
    }

    /// `masked` is what the log has in place of the text.
    async fn deliver(&mut self, stream: Stream, text: String, masked: Option<String>) {
        let text = Arc::new(text);
        self.log.write(stream, masked.map_or_else(|| text.clone(), Arc::new)).await;
        if text.is_empty() {
            return;
        }
        let capture = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let before = capture.held();
        capture.push(&text);
        let more = capture.held().saturating_sub(before);
        if let Some(memory) = &mut self.memory
            && !memory.grow(more)
        {
            memory.exceed();
        }
        if let Some(listener) = &self.listener {
            let listens = tokio::select! {
                sent = listener.send((stream, text)) => sent.is_ok(),
                () = self.patience() => false,
            };
            if !listens {
                self.listener = None;
            }
        }
    }

    /// Whether the log has less than the result.
    pub fn is_masked(&self) -> bool {
        self.log.stdout.mask.is_some()
    }

    /// Writes to the log what was held back and is too short to tell anything of a secret.
    pub async fn show_prompt(&mut self) {
        self.log.show_prompt().await;
    }

    /// Ends when a task that has to end has waited long enough for a pipeline to listen.
    async fn patience(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    }

    pub async fn finish(mut self) -> (TaskLog, String, String, bool, Option<Share>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.log.stream(stream).decoder.finish();
            // The log may go on with what comes late.
            let masked = self.log.stream(stream).mask.is_some().then(String::new);
            self.deliver(stream, rest, masked).await;
        }
        let (stdout, stdout_truncated) = self.stdout.finish();
        let (stderr, stderr_truncated) = self.stderr.finish();
        (self.log, stdout, stderr, stdout_truncated || stderr_truncated, self.memory)
    }
}

/// Writes a task's output to the log.
pub struct TaskLog {
    id: TaskId,
    task: String,
    events: EventSink,
    stdout: LogStream,
    stderr: LogStream,
}

/// One stream on its way to the log.
struct LogStream {
    decoder: Decoder,
    /// If there are secrets, what masks them, and what decodes the rest.
    mask: Option<(Masker, Decoder)>,
}

impl LogStream {
    fn new() -> Self {
        let mask = masking::stream().map(|masker| (masker, Decoder::default()));
        Self { decoder: Decoder::default(), mask }
    }

    /// What the log has in place of these bytes. `None` if it has all of them.
    fn masked(&mut self, bytes: &[u8]) -> Option<String> {
        let (masker, decoder) = self.mask.as_mut()?;
        let mut shown = Vec::with_capacity(bytes.len());
        masker.push(bytes, &mut shown);
        Some(decoder.push(shown))
    }

    /// The part of what was held back that tells nothing of a secret.
    fn prompt(&mut self) -> String {
        let Some((masker, decoder)) = &mut self.mask else { return String::new() };
        let mut shown = Vec::new();
        masker.flush_idle(&mut shown);
        decoder.push(shown)
    }

    /// What was held back, since a secret might have begun there.
    fn rest(&mut self) -> String {
        let Some((masker, decoder)) = &mut self.mask else { return String::new() };
        let mut shown = Vec::new();
        masker.flush_cut(&mut shown);
        decoder.push(shown) + &decoder.finish()
    }
}

impl TaskLog {
    fn stream(&mut self, stream: Stream) -> &mut LogStream {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    async fn write(&self, stream: Stream, text: Arc<String>) {
        if text.is_empty() {
            return;
        }
        self.events
            .send(RunEvent::TaskOutput { id: self.id.0, task: self.task.clone(), stream, text })
            .await;
    }

    /// Writes what processes that outlive their command write.
    pub async fn follow(mut self, mut updates: mpsc::Receiver<TaskUpdate>) {
        self.show_prompt().await;
        while let Some(update) = updates.recv().await {
            let TaskUpdate::Output(stream, bytes) = update else { continue };
            let masked = self.stream(stream).masked(&bytes);
            let text = masked.unwrap_or_else(|| self.stream(stream).decoder.push(bytes));
            self.write(stream, Arc::new(text)).await;
        }
        self.end().await;
    }

    async fn show_prompt(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let prompt = self.stream(stream).prompt();
            self.write(stream, Arc::new(prompt)).await;
        }
    }

    /// Writes what was held back when there is nothing more to come.
    pub async fn end(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.stream(stream).rest();
            self.write(stream, Arc::new(rest)).await;
        }
    }
}
