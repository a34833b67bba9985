//! Runs a pipeline's tasks through the driver: numbers, timeouts, output, events.

mod output;
pub mod text;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span};

use self::output::TaskOutput;
pub use self::output::TextChunk;
use crate::context::{EventSink, Stop, StopReason};
use crate::driver::{Driver, DriverError, KeptTask, Sandbox, TaskEnd, TaskUpdate};
use crate::event::{RunEvent, TaskStatus};
use crate::process::memory::Share;
use crate::shell::FailureShell;
use crate::task::{Command, SandboxSpec, TaskExit, TaskId, TaskSpec};
use crate::volume::VolumeManager;

/// How many updates may wait between the driver and the log.
const UPDATES_IN_FLIGHT: usize = 8;

/// How many different reasons are remembered. A pipeline that goes on after so many looks at them.
const MOST_REASONS: usize = 1000;

/// The code of a task that its own timeout ended, as `timeout(1)` has it.
const CODE_TIMED_OUT: i32 = 124;
/// The code of a task that the system ended: 128 and SIGKILL.
const CODE_KILLED: i32 = 137;
/// The code of a task that ended for any other reason than its own: 128 and SIGINT.
const CODE_ABORTED: i32 = 130;

pub struct TaskRunner {
    driver: Arc<dyn Driver>,
    volumes: Arc<VolumeManager>,
    events: EventSink,
    stop: Arc<Stop>,
    /// Where the user wants to look into a failure.
    shell: Option<FailureShell>,
    next: AtomicU64,
    /// What has been asked for and has not ended.
    running: Mutex<HashMap<TaskId, CancellationToken>>,
    started: Notify,
    ended: Notify,
    /// What the pipeline needed and nobody could reach, such as a registry, in the words of its errors.
    unavailable: Mutex<BTreeSet<String>>,
}

/// A task that counts as running.
struct Counted {
    runner: Arc<TaskRunner>,
    id: TaskId,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.runner.running().remove(&self.id);
        self.runner.ended.notify_waiters();
    }
}

/// The volumes of a task that is running, which are dirty unless it ends by itself.
struct Dirty<'a> {
    volumes: &'a VolumeManager,
    spec: &'a TaskSpec,
    /// How it has ended, if that is known.
    exit: Option<TaskExit>,
    is_clean: bool,
}

impl Drop for Dirty<'_> {
    fn drop(&mut self) {
        let task = format!("task `{}`", self.spec.name);
        match self.exit {
            _ if self.is_clean => {}
            Some(TaskExit::Code(_) | TaskExit::CodeAfterKill(_)) => {
                let process = format!("a process of {task}");
                self.volumes.mark_dirty(&self.spec.container.mounts, &process);
            }
            _ => self.volumes.mark_dirty(&self.spec.container.mounts, &task),
        }
    }
}

/// What the runner, and not the driver, does for a task.
#[derive(Default)]
pub struct TaskOptions {
    pub timeout: Option<Duration>,
    /// The timeout of a step, if the task's is what is left of that. It counts from the call then, and not
    /// from the start of the command.
    pub left_of: Option<Duration>,
    /// Whether the task tidies up: it starts although the run is to end, and is not ended at once.
    pub cleanup: bool,
    /// Whether the pipeline tries again if it fails.
    pub will_retry: bool,
    /// Where the task runs, unless that is a place of its own.
    pub sandbox: Option<Arc<dyn Sandbox>>,
    pub listener: Option<mpsc::Sender<TextChunk>>,
    /// What the task holds of the pipeline's memory. Its results grow it.
    pub memory: Option<Share>,
    /// The step of a pipeline in YAML that the task belongs to.
    pub step: Option<u64>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It was to end before it began.
    #[error("`{name}` was not started: {reason}")]
    NotStarted { name: String, reason: String },
    #[error(transparent)]
    Driver(DriverError),
}

/// What a pipeline learns of a task that was started.
#[derive(Debug)]
pub struct TaskResult {
    pub exit: TaskExit,
    /// Never 0 unless the command returned 0.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// Whether something of the streams was left out.
    pub truncated: bool,
    /// Why, when there is more to say than the code.
    pub message: String,
    pub duration: Duration,
    /// Given back when the pipeline has taken the result over.
    pub memory: Option<Share>,
}

impl TaskRunner {
    pub fn new(
        driver: Arc<dyn Driver>,
        volumes: Arc<VolumeManager>,
        events: EventSink,
        stop: Arc<Stop>,
        shell: Option<FailureShell>,
    ) -> Self {
        Self {
            driver,
            volumes,
            events,
            stop,
            shell,
            next: AtomicU64::new(1),
            running: Mutex::default(),
            started: Notify::new(),
            ended: Notify::new(),
            unavailable: Mutex::default(),
        }
    }

    /// Whether the pipeline was told that something which it needed cannot be reached, in words that `is_why`
    /// finds.
    pub fn was_unavailable(&self, is_why: impl FnMut(&String) -> bool) -> bool {
        self.lock_unavailable().iter().any(is_why)
    }

    /// The driver's error as the pipeline is told of it. All errors that the pipeline may fail with come this
    /// way, so that the end of the run knows which of them are no fault of the pipeline's.
    pub fn failed(&self, error: DriverError) -> TaskError {
        if error.is_unavailable() {
            let mut unavailable = self.lock_unavailable();
            if unavailable.len() < MOST_REASONS {
                unavailable.insert(error.to_string());
            }
        }
        TaskError::Driver(error)
    }

    fn lock_unavailable(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.unavailable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn next_id(&self) -> TaskId {
        TaskId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits until no task is running.
    pub async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Waits until no task was running for this long.
    pub async fn quiet(&self, time: Duration) {
        loop {
            let started = self.started.notified();
            self.idle().await;
            tokio::select! {
                () = started => {}
                () = tokio::time::sleep(time) => return,
            }
        }
    }

    /// Ends a task as an abort. A task that has ended already is left alone.
    pub fn cancel(&self, id: TaskId) {
        if let Some(token) = self.running().get(&id) {
            token.cancel();
        }
    }

    /// Opens a sandbox when the volumes that it mounts have their content. The driver closes it at the
    /// end of the run if nobody does before.
    pub async fn open_sandbox(&self, spec: &SandboxSpec) -> Result<Arc<dyn Sandbox>, TaskError> {
        let open = async {
            self.volumes.ready(&spec.container.mounts).await;
            self.driver.open_sandbox(spec).await
        };
        let opened = tokio::select! {
            biased;
            () = self.stop.token().cancelled() => return Err(self.not_started(spec.name.clone())),
            opened = open => opened.map_err(|error| self.failed(error))?,
        };
        self.events
            .send(RunEvent::SandboxOpened {
                sandbox: opened.id().to_owned(),
                name: spec.name.clone(),
                image: spec.container.image.clone(),
            })
            .await;
        Ok(opened)
    }

    /// Closes a sandbox. Whoever closes it once more waits for the same.
    pub async fn close_sandbox(&self, spec: &SandboxSpec, sandbox: &dyn Sandbox) {
        sandbox.close().await;
        let (sandbox, name) = (sandbox.id().to_owned(), spec.name.clone());
        self.events.send(RunEvent::SandboxClosed { sandbox, name }).await;
    }

    /// Counts the task as running from this call on, not from the future's first poll.
    pub fn start(
        self: &Arc<Self>,
        spec: TaskSpec,
        options: TaskOptions,
    ) -> impl Future<Output = Result<TaskResult, TaskError>> + Send + use<> {
        let runner = self.clone();
        let stop = if options.cleanup { self.stop.last() } else { self.stop.token() };
        let cancel = stop.child_token();
        self.running().insert(spec.id, cancel.clone());
        self.started.notify_waiters();
        // Part of the future, so that the task also counts as ended when that panics or is dropped.
        let counted = Counted { runner: runner.clone(), id: spec.id };
        async move {
            let _counted = counted;
            let spec = TaskSpec { keep: runner.shell.is_some() && !options.cleanup, ..spec };
            let span = debug_span!("task", id = spec.id.0, name = spec.name);
            let (result, kept) = runner.run(&spec, options, cancel).instrument(span).await;
            if let Some(kept) = kept {
                runner.look_into(&spec, &result, kept).await;
            }
            result
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        &self,
        spec: &TaskSpec,
        options: TaskOptions,
        cancel: CancellationToken,
    ) -> (Result<TaskResult, TaskError>, Option<Box<dyn KeptTask>>) {
        let TaskOptions { timeout, listener, sandbox, will_retry, memory, step, .. } = options;
        let (id, task) = (spec.id.0, spec.name.clone());
        let Command { path, args, .. } = &spec.exec.command;
        let command: Vec<String> = std::iter::once(path).chain(args).cloned().collect();
        let image = spec.container.image.clone();
        let queued = RunEvent::TaskQueued { id, task, image, command: command.clone(), step };
        self.events.send(queued).await;
        let from_call = timeout.filter(|_| options.left_of.is_some());
        let mut call_expired = std::pin::pin!(self.expired(from_call));
        let too_late = tokio::select! {
            biased;
            () = cancel.cancelled() => Some(self.why_stopped()),
            () = &mut call_expired => Some(timed_out_after(options.left_of)),
            () = self.restored(spec) => None,
        };
        if let Some(reason) = too_late {
            return (Err(self.skipped(spec, reason).await), None);
        }
        let mut dirty = Dirty { volumes: &self.volumes, spec, exit: None, is_clean: false };
        let (starts, mut has_started) = watch::channel(None);
        let (sink, mut updates) = mpsc::channel(UPDATES_IN_FLIGHT);
        let mut output =
            TaskOutput::new(spec, self.events.clone(), listener, cancel.clone(), memory);
        let ended = CancellationToken::new();
        let timed_out = AtomicBool::new(false);

        let work = async {
            let end = match &sandbox {
                Some(sandbox) => sandbox.exec(spec, sink, cancel.clone()).await,
                None => self.driver.run(spec, sink, cancel.clone()).await,
            };
            ended.cancel();
            end
        };
        let mut take = async |update| match update {
            TaskUpdate::Preparing { what, done } => {
                debug!(what, done, "is being prepared");
                self.preparing(spec, what, done).await;
            }
            TaskUpdate::Started => {
                debug!("has started");
                starts.send_replace(Some(Instant::now()));
                let (id, task, command) = (spec.id.0, spec.name.clone(), command.clone());
                let image = spec.container.image.clone();
                self.events.send(RunEvent::TaskStarted { id, task, image, command }).await;
            }
            TaskUpdate::Output(stream, bytes) => output.take((stream, bytes)).await,
        };
        let listen = async {
            loop {
                tokio::select! {
                    () = ended.cancelled() => break,
                    Some(update) = updates.recv() => take(update).await,
                }
            }
            // All that was written until then is here; what a daemon adds is not waited for.
            for _ in 0..updates.len() {
                if let Ok(update) = updates.try_recv() {
                    take(update).await;
                }
            }
        };
        let watch = async {
            if from_call.is_some() {
                call_expired.await;
            } else if has_started.wait_for(Option::is_some).await.is_ok() {
                self.expired(timeout).await;
            } else {
                // A driver that has dropped its sender has no command left to end.
                return std::future::pending().await;
            }
            // What has been stopped already keeps its reason during its grace.
            if !cancel.is_cancelled() {
                timed_out.store(true, Ordering::Relaxed);
                cancel.cancel();
            }
            std::future::pending().await
        };
        debug!("is handed to the driver");
        let TaskEnd { exit, kept } = tokio::select! {
            (end, ()) = async { tokio::join!(work, listen) } => end,
            never = watch => never,
        };
        debug!(?exit, "has ended");
        let timed_out = timed_out.into_inner();
        let started = *starts.borrow();
        let duration = started.map_or(Duration::ZERO, |started| started.elapsed());
        let (log, stdout, stderr, truncated, memory) = output.finish().await;
        // What outlived its command may go on writing to the log.
        if !updates.is_closed() {
            tokio::spawn(log.follow(updates));
        }

        dirty.exit = exit.as_ref().ok().copied();
        // A command that was never there has written nothing.
        dirty.is_clean = match &exit {
            Ok(exit) => exit.ended_by_itself(),
            Err(DriverError::CannotStart { .. } | DriverError::Refused(_)) => true,
            Err(DriverError::Io { .. } | DriverError::Unavailable { .. }) => false,
        };
        drop(dirty);
        let exit = match exit {
            Ok(exit) => exit,
            Err(error) => {
                let status = TaskStatus::Error;
                let reason = error.to_string();
                self.finished(spec, status, None, None, duration, reason, will_retry).await;
                return (Err(self.failed(error)), kept);
            }
        };
        let (code, message) = match exit {
            TaskExit::Code(code) | TaskExit::CodeAfterKill(code) => (code, String::new()),
            TaskExit::Signal(signal) => (128 + signal, format!("ended by {}", signal_name(signal))),
            TaskExit::OutOfMemory => (CODE_KILLED, out_of_memory(spec)),
            TaskExit::Cancelled => match (timed_out, timeout, self.stop.reason()) {
                (true, after, _) => (CODE_TIMED_OUT, timed_out_after(options.left_of.or(after))),
                (_, _, Some(reason @ StopReason::TimedOut(_))) => {
                    (CODE_TIMED_OUT, reason.to_string())
                }
                _ => (CODE_ABORTED, self.why_stopped()),
            },
        };
        let status = match exit {
            TaskExit::Cancelled => TaskStatus::Abort,
            exit if exit.is_success() => TaskStatus::Success,
            _ => TaskStatus::Failure,
        };
        let signal = match exit {
            TaskExit::Signal(signal) => Some(signal_name(signal)),
            _ => None,
        };
        // The event has the signal in a field of its own.
        let reason = if signal.is_some() { String::new() } else { message.clone() };
        let retried = match status {
            TaskStatus::Success => false,
            // What ends it from outside ends its attempts, too.
            TaskStatus::Abort => will_retry && timed_out,
            TaskStatus::Failure | TaskStatus::Error => will_retry,
        };
        match (exit, started) {
            (TaskExit::Cancelled, None) => return (Err(self.skipped(spec, reason).await), kept),
            _ => self.finished(spec, status, Some(code), signal, duration, reason, retried).await,
        }
        (Ok(TaskResult { exit, code, stdout, stderr, truncated, message, duration, memory }), kept)
    }

    /// Waits until the volumes of a task have their content.
    async fn restored(&self, spec: &TaskSpec) {
        let mounts = &spec.container.mounts;
        let volumes = self.volumes.being_restored(mounts);
        if !volumes.is_empty() {
            self.preparing(spec, format!("restoring {}", volumes.join(", ")), None).await;
        }
        self.volumes.ready(mounts).await;
    }

    async fn preparing(&self, spec: &TaskSpec, what: String, done: Option<f64>) {
        let (id, task) = (spec.id.0, spec.name.clone());
        self.events.send(RunEvent::TaskPreparing { id, task, what, done }).await;
    }

    /// Reports a task that has not started. The error says the same to the pipeline.
    async fn skipped(&self, spec: &TaskSpec, reason: String) -> TaskError {
        let (id, task) = (spec.id.0, spec.name.clone());
        self.events.send(RunEvent::TaskSkipped { id, task, reason: reason.clone() }).await;
        TaskError::NotStarted { name: spec.name.clone(), reason }
    }

    /// Waits until a timeout has passed; for ever without one.
    async fn expired(&self, timeout: Option<Duration>) {
        match timeout {
            Some(timeout) => self.stop.clock().sleep(timeout).await,
            None => std::future::pending().await,
        }
    }

    /// Lets the user look into a task that has failed, and lets go of it.
    async fn look_into(
        &self,
        spec: &TaskSpec,
        result: &Result<TaskResult, TaskError>,
        kept: Box<dyn KeptTask>,
    ) {
        let has_failed = match result {
            Ok(TaskResult { exit: TaskExit::Cancelled, code, .. }) => *code == CODE_TIMED_OUT,
            Ok(result) => result.code != 0,
            Err(TaskError::Driver(DriverError::CannotStart { .. })) => true,
            Err(_) => false,
        };
        if let Some(shell) = self.shell.as_ref().filter(|_| has_failed) {
            shell.offer(&spec.name, &*kept).await;
        }
        kept.discard().await;
    }

    fn not_started(&self, name: String) -> TaskError {
        TaskError::NotStarted { name, reason: self.why_stopped() }
    }

    fn why_stopped(&self) -> String {
        let reason = self.stop.reason().map(|reason| reason.to_string());
        reason.unwrap_or_else(|| "cancelled by the pipeline".to_owned())
    }

    /// The time by the clock of timeouts, from the start of the run.
    pub fn clock(&self) -> Duration {
        self.stop.clock().now()
    }

    #[expect(clippy::too_many_arguments, reason = "each is a field of the event")]
    async fn finished(
        &self,
        spec: &TaskSpec,
        status: TaskStatus,
        code: Option<i32>,
        signal: Option<&'static str>,
        duration: Duration,
        message: String,
        retried: bool,
    ) {
        self.events
            .send(RunEvent::TaskFinished {
                id: spec.id.0,
                task: spec.name.clone(),
                status,
                code,
                signal,
                duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                message,
                retried,
            })
            .await;
    }
}

fn out_of_memory(spec: &TaskSpec) -> String {
    match spec.container.limits.memory {
        Some(bytes) => format!(
            "ended for using more memory than its limit of {}, raise `containerLimits.memory`",
            bytesize::ByteSize(bytes).display().si()
        ),
        None => "ended because the machine ran out of memory".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    Signal::try_from(signal).map_or("a real-time signal", Signal::as_str)
}

fn timed_out_after(timeout: Option<Duration>) -> String {
    let timeout = humantime::format_duration(timeout.unwrap_or_default());
    format!("timed out after {timeout}")
}
