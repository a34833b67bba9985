//! Where events are sent from.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::RunEvent;
use super::masked::{ConsoleMask, masked};
use crate::task::Stream;

/// What the log of a run is told.
#[derive(Debug)]
pub enum Message {
    Event(Stamped),
    Pause(Pause),
}

/// Something that happened, and when.
#[derive(Debug)]
pub struct Stamped {
    pub at: SystemTime,
    /// Since the start of the run.
    pub elapsed: Duration,
    pub kind: RunEvent,
}

/// A time in which nothing is written to the standard output.
#[derive(Debug)]
pub struct Pause {
    /// Told when all that came before is written.
    pub begun: oneshot::Sender<()>,
    /// Ends with the pause.
    pub over: oneshot::Receiver<()>,
}

/// Where events go. Each is stamped when it is sent. Sending waits while the log is slower than the run.
#[derive(Clone)]
pub struct EventSink(Arc<Shared>);

struct Shared {
    sender: mpsc::Sender<Message>,
    started: Instant,
    seen: Mutex<HashSet<String>>,
    /// What had no room when it was told by somebody who cannot wait. Whatever is sent after it waits
    /// for it, so that the last event of a run is no earlier.
    overflow: Mutex<VecDeque<Stamped>>,
    console: Mutex<ConsoleMask>,
}

impl EventSink {
    /// How many events may wait to be handed to the reports. With chunks of output of up to 64 KiB, this
    /// bounds what a flood of output occupies to a few MiB.
    const CAPACITY: usize = 64;

    /// A sink, and what has to be read from the other end.
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(Self::CAPACITY);
        let shared = Shared {
            sender,
            started: Instant::now(),
            seen: Mutex::default(),
            overflow: Mutex::default(),
            console: Mutex::default(),
        };
        (Self(Arc::new(shared)), receiver)
    }

    pub async fn send(&self, kind: RunEvent) {
        let kind = match kind {
            RunEvent::Console { stream, text } => {
                let text = self.console().shown(stream, text);
                if text.is_empty() {
                    return;
                }
                RunEvent::Console { stream, text }
            }
            RunEvent::RunFinished { .. } => {
                self.end_console().await;
                kind
            }
            kind => kind,
        };
        let event = self.stamped(kind);
        self.flush().await;
        self.send_now(event).await;
    }

    fn stamped(&self, kind: RunEvent) -> Stamped {
        Stamped { at: SystemTime::now(), elapsed: self.0.started.elapsed(), kind: masked(kind) }
    }

    /// Sends what was held back of the console.
    async fn end_console(&self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let text = self.console().rest(stream);
            if !text.is_empty() {
                let rest = self.stamped(RunEvent::Console { stream, text });
                self.flush().await;
                self.send_now(rest).await;
            }
        }
    }

    fn console(&self) -> MutexGuard<'_, ConsoleMask> {
        self.0.console.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what had no room before.
    async fn flush(&self) {
        loop {
            let Some(event) = self.overflow().pop_front() else { return };
            self.send_now(event).await;
        }
    }

    fn overflow(&self) -> MutexGuard<'_, VecDeque<Stamped>> {
        self.0.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_now(&self, event: Stamped) {
        // What comes after the event that ends the run has no reader.
        _ = self.0.sender.send(Message::Event(event)).await;
    }

    /// Makes the standard output show all that has been sent, and then nothing until what this returns is
    /// dropped. Meanwhile events wait.
    pub async fn pause(&self) -> oneshot::Sender<()> {
        let (begun, begins) = oneshot::channel();
        let (ends, over) = oneshot::channel();
        // When nobody reads any more, nothing is written.
        if self.0.sender.send(Message::Pause(Pause { begun, over })).await.is_ok() {
            _ = begins.await;
        }
        ends
    }

    /// For threads that run no tokio runtime of their own, or may hold it up.
    pub fn send_blocking(&self, kind: RunEvent) {
        // Unconstrained, since a thread that waits here never yields to have its budget renewed.
        let send = tokio::task::unconstrained(self.send(kind));
        futures_executor::block_on(send);
    }

    /// Tells the user something, once a run.
    pub fn notice(&self, message: String) {
        self.once(message, |message| RunEvent::Notice { message });
    }

    /// Tells the user what went wrong without ending the run, once a run.
    pub fn warning(&self, message: String) {
        self.once(message, |message| RunEvent::Warning { message });
    }

    fn once(&self, message: String, kind: fn(String) -> RunEvent) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(message.clone()) {
            let event = self.stamped(kind(message));
            if let Err(TrySendError::Full(Message::Event(event))) =
                self.0.sender.try_send(Message::Event(event))
            {
                self.overflow().push_back(event);
                let sink = self.clone();
                tokio::spawn(async move { sink.flush().await });
            }
        }
    }
}
