//! One command, from the call of the driver to its end: its phases, its output and its timeout.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::TaskRunner;
use super::output::TaskOutput;
use crate::driver::{Sandbox, TaskEnd, TaskUpdate};
use crate::event::RunEvent;
use crate::task::TaskSpec;

/// How many updates may wait between the driver and the log.
const UPDATES_IN_FLIGHT: usize = 8;

/// How long a task is silent before the end of its output is shown that may be the beginning of a secret, as that
/// of a question may.
const IDLE: Duration = Duration::from_millis(50);

/// How a command ended, before anybody judges it.
pub struct Supervised {
    pub end: TaskEnd,
    /// Whether its timeout cancelled it.
    pub timed_out: bool,
    /// When the driver said that the command runs; `None` if it never said so.
    pub started: Option<Instant>,
    /// What processes that outlive the command still write. The receiver is closed if there are none.
    pub late: mpsc::Receiver<TaskUpdate>,
}

/// From when on a timeout counts.
pub enum Expiry<F> {
    FromStart(Option<Duration>),
    /// It counts already; the future ends when it has passed.
    FromCall(F),
}

impl TaskRunner {
    /// Hands a task to the driver, or to its sandbox, and waits for its end. Cancels it when its timeout has
    /// passed.
    pub(super) async fn supervise(
        &self,
        spec: &TaskSpec,
        sandbox: Option<&Arc<dyn Sandbox>>,
        command: &[String],
        expiry: Expiry<impl Future<Output = ()>>,
        cancel: &CancellationToken,
        output: &mut TaskOutput,
    ) -> Supervised {
        let (starts, mut has_started) = watch::channel(None);
        let (sink, mut updates) = mpsc::channel(UPDATES_IN_FLIGHT);
        let ended = CancellationToken::new();
        let timed_out = AtomicBool::new(false);

        let work = async {
            let end = match sandbox {
                Some(sandbox) => sandbox.exec(spec, sink, cancel.clone()).await,
                None => self.driver.run(spec, sink, cancel.clone()).await,
            };
            ended.cancel();
            end
        };
        let is_masked = output.is_masked();
        let mut take = async |update| match update {
            Some(TaskUpdate::Preparing { what, done }) => {
                debug!(what, done, "is being prepared");
                self.preparing(spec, what, done).await;
            }
            Some(TaskUpdate::Started) => {
                debug!("has started");
                starts.send_replace(Some(Instant::now()));
                self.started(spec, command).await;
            }
            Some(TaskUpdate::Output(stream, bytes)) => output.take((stream, bytes)).await,
            // Nothing has come for a while.
            None => output.show_prompt().await,
        };
        let listen = async {
            loop {
                tokio::select! {
                    () = ended.cancelled() => break,
                    Some(update) = updates.recv() => take(Some(update)).await,
                    () = tokio::time::sleep(IDLE), if is_masked => take(None).await,
                }
            }
            // All that was written until then is here; what a daemon adds is not waited for.
            for _ in 0..updates.len() {
                if let Ok(update) = updates.try_recv() {
                    take(Some(update)).await;
                }
            }
        };
        let watch = async {
            match expiry {
                Expiry::FromCall(expired) => expired.await,
                Expiry::FromStart(timeout) => {
                    if has_started.wait_for(Option::is_some).await.is_err() {
                        // A driver that has dropped its sender has no command left to end.
                        return std::future::pending().await;
                    }
                    self.expired(timeout).await;
                }
            }
            // What has been stopped already keeps its reason during its grace.
            if !cancel.is_cancelled() {
                timed_out.store(true, Ordering::Relaxed);
                cancel.cancel();
            }
            std::future::pending().await
        };
        debug!("is handed to the driver");
        let end = tokio::select! {
            (end, ()) = async { tokio::join!(work, listen) } => end,
            never = watch => never,
        };
        debug!(exit = ?end.exit, "has ended");
        let started = *starts.borrow();
        Supervised { end, timed_out: timed_out.into_inner(), started, late: updates }
    }

    async fn started(&self, spec: &TaskSpec, command: &[String]) {
        let (id, task) = (spec.id.0, spec.name.clone());
        let (image, command) = (spec.container.image.clone(), command.to_vec());
        self.events.send(RunEvent::TaskStarted { id, task, image, command }).await;
    }
}
