//! The way of a task's output to the log, to `onOutput` and into the result.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::EventSink;
use crate::driver::TaskUpdate;
use crate::event::RunEvent;
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
                stdout: Decoder::default(),
                stderr: Decoder::default(),
            },
            listener,
            cancel,
            stdout: Capture::new(CAPTURE_LIMIT),
            stderr: Capture::new(CAPTURE_LIMIT),
            memory,
        }
    }

    pub async fn take(&mut self, (stream, bytes): (Stream, Vec<u8>)) {
        let text = self.log.decoder(stream).push(bytes);
        self.deliver(stream, text).await;
    }

    async fn deliver(&mut self, stream: Stream, text: String) {
        if text.is_empty() {
            return;
        }
        let text = Arc::new(text);
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
        self.log.write(stream, text.clone()).await;
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

    /// Ends when a task that has to end has waited long enough for a pipeline to listen.
    async fn patience(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    }

    pub async fn finish(mut self) -> (TaskLog, String, String, bool, Option<Share>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.log.decoder(stream).finish();
            self.deliver(stream, rest).await;
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
    stdout: Decoder,
    stderr: Decoder,
}

impl TaskLog {
    fn decoder(&mut self, stream: Stream) -> &mut Decoder {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    async fn write(&self, stream: Stream, text: Arc<String>) {
        self.events
            .send(RunEvent::TaskOutput { id: self.id.0, task: self.task.clone(), stream, text })
            .await;
    }

    pub async fn follow(mut self, mut updates: mpsc::Receiver<TaskUpdate>) {
        while let Some(update) = updates.recv().await {
            let TaskUpdate::Output(stream, bytes) = update else { continue };
            let text = self.decoder(stream).push(bytes);
            if !text.is_empty() {
                self.write(stream, Arc::new(text)).await;
            }
        }
    }
}
