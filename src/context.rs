//! What a running pipeline can reach: its tasks, its volumes and the log.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::driver::{Driver, RunIdentity};
use crate::event::RunEvent;
use crate::shell::FailureShell;
use crate::task_runner::TaskRunner;
use crate::volume::{VolumeCache, VolumeManager};

/// Shared by everything that works for one run.
pub struct RunContext {
    pub identity: RunIdentity,
    pub driver_name: &'static str,
    /// What follows `--` on the command line.
    pub args: Vec<String>,
    pub tasks: Arc<TaskRunner>,
    pub volumes: Arc<VolumeManager>,
    pub events: EventSink,
    /// Where drivers work; the isolate has a thread of its own.
    pub runtime: Handle,
}

impl RunContext {
    pub fn new(
        identity: RunIdentity,
        args: Vec<String>,
        driver: Arc<dyn Driver>,
        cache: Option<Arc<VolumeCache>>,
        events: EventSink,
        stop: Arc<Stop>,
        shell: Option<FailureShell>,
    ) -> Self {
        let volumes = Arc::new(VolumeManager::new(driver.clone(), events.clone(), cache));
        let runner = TaskRunner::new(driver.clone(), volumes.clone(), events.clone(), stop, shell);
        let tasks = Arc::new(runner);
        Self {
            identity,
            driver_name: driver.name(),
            args,
            tasks,
            volumes,
            events,
            runtime: Handle::current(),
        }
    }
}

/// What the log is told.
#[derive(Debug)]
pub enum Message {
    Event(RunEvent),
    Silence(Silence),
}

impl From<RunEvent> for Message {
    fn from(event: RunEvent) -> Self {
        Self::Event(event)
    }
}

/// A time in which nothing is written.
#[derive(Debug)]
pub struct Silence {
    /// Told when all that came before is written.
    pub begun: oneshot::Sender<()>,
    /// Ends with the silence.
    pub over: oneshot::Receiver<()>,
}

/// Where events go. Sending waits while the log is slower than the run.
#[derive(Clone)]
pub struct EventSink {
    sender: mpsc::Sender<Message>,
    stop: Arc<Stop>,
    /// Nobody reads the log any more.
    abandoned: Arc<AtomicBool>,
    seen: Arc<Mutex<HashSet<String>>>,
    /// What had no room when it was told by somebody who cannot wait. Whatever is sent after it waits
    /// for it, so that the last event of a run is no earlier.
    overflow: Arc<Mutex<VecDeque<RunEvent>>>,
}

impl EventSink {
    /// How many events may wait for the log. With chunks of output of up to 64 KiB, this bounds
    /// what a flood of output occupies to a few MiB.
    const CAPACITY: usize = 64;

    /// How long the events of a run that has to stop wait for a log that nobody reads.
    const PATIENCE: Duration = Duration::from_secs(1);

    pub fn new(stop: Arc<Stop>) -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(Self::CAPACITY);
        (
            Self {
                sender,
                stop,
                abandoned: Arc::default(),
                seen: Arc::default(),
                overflow: Arc::default(),
            },
            receiver,
        )
    }

    pub async fn send(&self, event: RunEvent) {
        self.flush().await;
        self.send_now(event).await;
    }

    /// Sends what had no room before.
    async fn flush(&self) {
        loop {
            let Some(event) = self.overflow().pop_front() else { return };
            self.send_now(event).await;
        }
    }

    fn overflow(&self) -> MutexGuard<'_, VecDeque<RunEvent>> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_now(&self, event: RunEvent) {
        // The reporter reads up to the event that ends the run; what comes later has no reader.
        if let Err(TrySendError::Full(event)) = self.sender.try_send(event.into())
            && !self.abandoned.load(Ordering::Relaxed)
        {
            tokio::select! {
                _ = self.sender.send(event) => {}
                () = self.patience() => self.abandoned.store(true, Ordering::Relaxed),
            }
        }
    }

    /// Makes the log write all that it has been told, and then nothing until what this returns is
    /// dropped. Meanwhile events wait.
    pub async fn silence(&self) -> oneshot::Sender<()> {
        let (begun, begins) = oneshot::channel();
        let (ends, over) = oneshot::channel();
        // A log that nobody reads any more is silent.
        if self.sender.send(Message::Silence(Silence { begun, over })).await.is_ok() {
            _ = begins.await;
        }
        ends
    }

    /// Ends a while after the run was asked to stop from outside.
    async fn patience(&self) {
        self.stop.token().cancelled().await;
        if self.stop.reason() == Some(StopReason::Failed) {
            std::future::pending::<()>().await;
        }
        // While a shell has the terminal, the log is silent on purpose.
        self.stop.clock().sleep(Self::PATIENCE).await;
    }

    /// For threads that run no tokio runtime of their own, or may hold it up.
    pub fn send_blocking(&self, event: RunEvent) {
        // Unconstrained, since a thread that waits here never yields to have its budget renewed.
        let send = tokio::task::unconstrained(self.send(event));
        deno_core::futures::executor::block_on(send);
    }

    /// Tells the user something, once a run.
    pub fn notice(&self, message: String) {
        self.once(message, |message| RunEvent::Notice { message });
    }

    /// Tells the user what went wrong without ending the run, once a run.
    pub fn warning(&self, message: String) {
        self.once(message, |message| RunEvent::Warning { message });
    }

    fn once(&self, message: String, event: fn(String) -> RunEvent) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(message.clone()) {
            let event = event(message);
            if let Err(TrySendError::Full(Message::Event(event))) =
                self.sender.try_send(event.into())
            {
                self.overflow().push_back(event);
                let sink = self.clone();
                tokio::spawn(async move { sink.flush().await });
            }
        }
    }
}

/// Says that a run has to end before its pipeline does, and why.
#[derive(Default)]
pub struct Stop {
    clock: Arc<Clock>,
    token: CancellationToken,
    /// Cancelled for what comes from outside, also when the pipeline has failed before.
    outside: CancellationToken,
    /// Cancelled when not even tasks that tidy up may go on.
    last: CancellationToken,
    reason: OnceLock<StopReason>,
    /// What a thread or a task of this process panicked with first, and where.
    panic: OnceLock<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user or the machine asked for it.
    Interrupted,
    /// `--timeout` has passed.
    TimedOut(Duration),
    /// The pipeline has failed; what it left running is not waited for.
    Failed,
    /// Something in this process panicked.
    Broken,
}

impl Stop {
    /// The first reason counts.
    pub fn request(&self, reason: StopReason) {
        _ = self.reason.set(reason);
        self.token.cancel();
        match reason {
            StopReason::Failed => self.last.cancel(),
            StopReason::Interrupted | StopReason::TimedOut(_) | StopReason::Broken => {
                self.outside.cancel();
            }
        }
    }

    /// Ends the run because of a panic. The first one counts.
    pub fn panicked(&self, message: String) {
        _ = self.panic.set(message);
        self.request(StopReason::Broken);
    }

    /// What the first panic said, and where it was.
    pub fn panic(&self) -> Option<&str> {
        self.panic.get().map(String::as_str)
    }

    /// Ends the time that tasks have to tidy up.
    pub fn end_cleanup(&self) {
        self.last.cancel();
    }

    /// What timeouts go by.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Fires when the user or the clock wants the run to end, not when the pipeline has failed.
    pub fn outside(&self) -> &CancellationToken {
        &self.outside
    }

    /// Fires when nothing of the run may go on.
    pub fn last(&self) -> &CancellationToken {
        &self.last
    }

    pub fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interrupted => write!(f, "the run was interrupted"),
            Self::TimedOut(after) => {
                write!(f, "the run timed out after {}", humantime::format_duration(*after))
            }
            Self::Failed => write!(f, "the pipeline failed"),
            Self::Broken => write!(f, "an internal error ended the run"),
        }
    }
}
