//! Runs a pipeline's tasks through the driver: numbers, timeouts, output, events.

mod dirty;
mod output;
mod result;
mod supervise;
pub mod text;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span};

use self::dirty::Dirty;
use self::output::TaskOutput;
pub use self::output::TextChunk;
pub use self::result::{TaskError, TaskOptions, TaskResult};
use self::supervise::{Expiry, Supervised};
use self::verdict::{CODE_TIMED_OUT, Cancelled, Verdict};
use crate::driver::{Driver, DriverError, KeptTask, Sandbox, TaskEnd};
use crate::event::EventSink;
use crate::event::{RunEvent, TaskStatus};
use crate::shell::FailureShell;
use crate::stop::Stop;
use crate::task::{Command, SandboxSpec, TaskExit, TaskId, TaskSpec};
use crate::volume::VolumeManager;

/// How many different reasons are remembered. A pipeline that goes on after so many looks at them.
const MOST_REASONS: usize = 1000;

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
        let TaskOptions { timeout, left_of, script, listener, sandbox, memory, step, .. } = options;
        let will_retry = options.will_retry;
        let command = shown(spec, script);
        self.queued(spec, command.clone(), step).await;
        // The timeout of a step counts while the task waits.
        let from_call = timeout.filter(|_| left_of.is_some());
        let mut call_expired = std::pin::pin!(self.expired(from_call));
        let too_late = tokio::select! {
            biased;
            () = cancel.cancelled() => Some(self.why_cancelled()),
            () = &mut call_expired => Some(Cancelled::TimedOut(left_of)),
            () = self.restored(spec) => None,
        };
        if let Some(reason) = too_late {
            return (Err(self.skipped(spec, reason.to_string()).await), None);
        }

        let dirty = Dirty::new(&self.volumes, spec);
        let mut output =
            TaskOutput::new(spec, self.events.clone(), listener, cancel.clone(), memory);
        let expiry = match from_call {
            Some(_) => Expiry::FromCall(call_expired),
            None => Expiry::FromStart(timeout),
        };
        let supervised =
            self.supervise(spec, sandbox.as_ref(), &command, expiry, &cancel, &mut output).await;
        let Supervised { end: TaskEnd { exit, kept }, timed_out, started, late } = supervised;
        let duration = started.map_or(Duration::ZERO, |started| started.elapsed());
        let (mut log, stdout, stderr, truncated, memory) = output.finish().await;
        // What outlived its command may go on writing to the log.
        match late.is_closed() {
            true => log.end().await,
            false => _ = tokio::spawn(log.follow(late)),
        }
        dirty.ended(&exit);

        let exit = match exit {
            Ok(exit) => exit,
            Err(error) => {
                let (status, reason) = (TaskStatus::Error, error.to_string());
                self.finished(spec, status, None, None, duration, reason, will_retry).await;
                return (Err(self.failed(error)), kept);
            }
        };
        let cancelled = match timed_out {
            true => Cancelled::TimedOut(left_of.or(timeout)),
            false => self.why_cancelled(),
        };
        let verdict = Verdict::new(spec, exit, cancelled);
        let reason = verdict.reason();
        let Verdict { code, status, signal, message } = verdict;
        let retried = match status {
            TaskStatus::Success => false,
            // What ends it from outside ends its attempts, too.
            TaskStatus::Abort => will_retry && timed_out,
            TaskStatus::Failure | TaskStatus::Error => will_retry,
        };
        if exit == TaskExit::Cancelled && started.is_none() {
            return (Err(self.skipped(spec, reason).await), kept);
        }
        self.finished(spec, status, Some(code), signal, duration, reason, retried).await;
        let timed_out = status == TaskStatus::Abort && code == CODE_TIMED_OUT;
        let result = TaskResult {
            exit,
            code,
            signal,
            timed_out,
            stdout,
            stderr,
            truncated,
            message,
            duration,
            memory,
        };
        (Ok(result), kept)
    }

    async fn queued(&self, spec: &TaskSpec, command: Vec<String>, step: Option<u64>) {
        let (id, task) = (spec.id.0, spec.name.clone());
        let image = spec.container.image.clone();
        self.events.send(RunEvent::TaskQueued { id, task, image, command, step }).await;
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

    /// Why what was asked for is not done, in words.
    pub fn why_stopped(&self) -> String {
        self.why_cancelled().to_string()
    }

    /// Why a task that its own timeout did not cancel was cancelled.
    fn why_cancelled(&self) -> Cancelled {
        self.stop.reason().map_or(Cancelled::ByThePipeline, Cancelled::Stopped)
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

/// The whole argument vector, with the script as the pipeline has it.
fn shown(spec: &TaskSpec, script: Option<String>) -> Vec<String> {
    let Command { path, args, .. } = &spec.exec.command;
    let mut command: Vec<String> = std::iter::once(path).chain(args).cloned().collect();
    if let (Some(script), Some(last)) = (script, command.last_mut()) {
        *last = script;
    }
    command
}
