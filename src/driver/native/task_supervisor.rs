//! One task from its start to its last trace.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::open_files::{FileShare, TaskFiles};
use super::prepared_task::{PreparedTask, Streams, TaskPlan, WorkArea};
use super::pump::{Phase, Pump};
use super::removing::clear;
use super::shared::{Shared, blocking};
use super::shell::{Kept, KeptSlot, NativeKept};
use crate::driver::{DriverError, KeptTask, TaskEnd, TaskUpdate, UpdateSink};
use crate::task::{Stream, TaskExit};
use supervise::wire::{Exit, Failure, Launch, Report};
use supervise::{Channel, Deadline, LaunchError, Pursuit};

pub type Outcome = Result<TaskExit, DriverError>;

/// Where a task runs, and with whom it ends.
pub struct Scope<'a> {
    pub shared: &'a Arc<Shared>,
    pub area: WorkArea,
    /// Who has to wait for the task before the scope is gone.
    pub tasks: &'a TaskTracker,
    /// Who has to wait for what is kept of it.
    pub kept: &'a TaskTracker,
    /// Fires when everything of the scope is to end.
    pub closing: &'a CancellationToken,
}

impl Scope<'_> {
    /// Runs a task. The result is told when its command has ended; what it leaves behind is attended
    /// to for longer.
    pub async fn run(
        self,
        plan: TaskPlan,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd {
        let slot = plan.spec.keep.then(|| Arc::new(KeptSlot::default()));
        let (shared, task) = (self.shared.clone(), plan.spec.name.clone());
        let exit = self.run_in(plan, updates, cancel, slot.clone()).await;
        let kept = slot.filter(|slot| slot.is_filled());
        let kept =
            kept.map(|slot| Box::new(NativeKept { shared, slot, task }) as Box<dyn KeptTask>);
        TaskEnd { exit, kept }
    }

    async fn run_in(
        self,
        plan: TaskPlan,
        updates: UpdateSink,
        cancel: CancellationToken,
        slot: Option<Arc<KeptSlot>>,
    ) -> Outcome {
        let Self { shared, area, tasks, kept, closing } = self;
        let with_stdin = plan.spec.exec.stdin.is_some();
        let mount_points = plan.held_mount_points(shared);
        let files =
            shared.open_files.acquire(&shared.notices, &plan.spec.name, with_stdin, mount_points);
        // The command counts as running until this future ends.
        let (files, _running) = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(TaskExit::Cancelled),
            () = closing.cancelled() => return Ok(TaskExit::Cancelled),
            files = files => files?,
        };
        let (outcome, told) = oneshot::channel();
        let abandoned = CancellationToken::new();
        // Tells the supervisor that this future was dropped.
        let _here = abandoned.clone().drop_guard();
        let context = format!("lost task `{}`", plan.spec.name);
        let supervisor = TaskSupervisor {
            shared: shared.clone(),
            plan: Arc::new(plan),
            updates,
            cancel,
            closing: closing.clone(),
            slot,
            kept: kept.clone(),
            abandoned,
            outcome: Some(outcome),
        };
        tasks.spawn(supervisor.run(area, files));
        told.await.unwrap_or_else(|_| {
            let source = std::io::Error::other("the driver stopped attending to it");
            Err(DriverError::Io { context, source })
        })
    }
}

/// A task that runs on its own, so that it is cleaned up behind a caller who does not wait.
struct TaskSupervisor {
    shared: Arc<Shared>,
    plan: Arc<TaskPlan>,
    updates: UpdateSink,
    cancel: CancellationToken,
    closing: CancellationToken,
    /// Where what is to be kept goes.
    slot: Option<Arc<KeptSlot>>,
    /// Makes the scope's end wait for that.
    kept: TaskTracker,
    /// Fires when the caller has gone away.
    abandoned: CancellationToken,
    /// Taken when the caller was told.
    outcome: Option<oneshot::Sender<Outcome>>,
}

/// How long the processes that a command leaves behind may take to end before they count as
/// staying, and keep their directories.
const AFTERMATH: Duration = Duration::from_millis(5);

/// How long a launch that nobody wants any more may take to come about, before it is taken back. Somebody
/// has stopped the supervisor or a reaper then, and telling them to go on did not help.
const STUCK: Duration = Duration::from_secs(3);

/// What a task has while it runs.
struct Running {
    channel: Channel,
    prepared: PreparedTask,
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

impl TaskSupervisor {
    async fn run(mut self, area: WorkArea, files: TaskFiles) {
        let TaskFiles { channel: channel_share, start, mount_points, holder: _holder, .. } = files;
        let kills = self.oom_kills();
        let started = self.start(area).await;
        drop(start);
        let Running { channel, mut prepared, stdin, stdout, stderr } = match started {
            Ok(running) => running,
            Err(outcome) => return self.tell(outcome),
        };
        prepared.keep(mount_points);
        self.tell_start().await;
        let (phase, watched) = watch::channel(Phase::Running);
        let (out_drained, out_is_drained) = oneshot::channel();
        let (err_drained, err_is_drained) = oneshot::channel();
        let out = Pump::new(stdout, Stream::Stdout, self.updates.clone());
        let err = Pump::new(stderr, Stream::Stderr, self.updates.clone());
        let bytes = self.plan.clone();
        let feed =
            feed(stdin, bytes.spec.exec.stdin.as_deref().unwrap_or_default(), phase.subscribe());
        let drained = async {
            // A pump that has ended has handed everything over, too.
            let _ = out_is_drained.await;
            let _ = err_is_drained.await;
        };
        tokio::join!(
            holding(channel_share, self.attend(channel, prepared, phase, drained, kills)),
            holding(files.stdout, out.run(watched.clone(), out_drained)),
            holding(files.stderr, err.run(watched, err_drained)),
            holding(files.stdin, feed),
        );
    }

    /// Waits until the task is to end, for whatever reason.
    async fn stopped(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.closing.cancelled() => {}
            () = self.abandoned.cancelled() => {}
        }
    }

    /// A listener that does not listen holds up no end.
    async fn tell_start(&self) {
        tokio::select! {
            biased;
            _ = self.updates.send(TaskUpdate::Started) => {}
            () = self.stopped() => {}
        }
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(sender) = self.outcome.take() {
            // The caller may have gone away.
            let _ = sender.send(outcome);
        }
    }

    /// Starts the command, or returns the outcome with nothing left of the task.
    async fn start(&self, mut area: WorkArea) -> Result<Running, Outcome> {
        let turn = tokio::select! {
            biased;
            () = self.stopped() => None,
            turn = self.shared.starts.acquire() => turn.ok(),
        };
        let Some(_turn) = turn else { return Err(Ok(TaskExit::Cancelled)) };
        loop {
            if self.has_to_stop() {
                return Err(Ok(TaskExit::Cancelled));
            }
            let made = self.make(area).await;
            let (prepared, launch, streams) = match made {
                // That may be why.
                Err(_) if self.has_to_stop() => return Err(Ok(TaskExit::Cancelled)),
                made => made.map_err(Err)?,
            };
            let kept = self.slot.is_some().then(|| launch.clone());
            let launched = tokio::select! {
                biased;
                launched = self.launch(launch, streams) => launched,
                () = async {
                    self.stopped().await;
                    sleep(STUCK).await;
                } => {
                    _ = self.clear(prepared).await;
                    return Err(Ok(TaskExit::Cancelled));
                }
            };
            let failure = match launched {
                Ok((channel, (stdin, stdout, stderr))) => {
                    debug!("launched a command");
                    self.keep(kept);
                    return Ok(Running { channel, prepared, stdin, stdout, stderr });
                }
                Err(failure) => failure,
            };
            let command = self.plan.spec.exec.command.path.clone();
            match failure {
                LaunchError::Start(Failure::Start(reason)) => {
                    self.keep(kept);
                    self.leave(prepared).await;
                    return Err(Err(DriverError::CannotStart { command, reason }));
                }
                // Once more, with links this time.
                LaunchError::Start(Failure::NoMounts(reason)) => {
                    area = self.clear(prepared).await.map_err(Err)?;
                    self.shared.give_up_mounts(&reason).map_err(Err)?;
                }
                LaunchError::Io(source) => {
                    self.clear(prepared).await.map_err(Err)?;
                    let context = format!("cannot start `{command}`");
                    return Err(Err(DriverError::Io { context, source }));
                }
            }
        }
    }

    /// Makes everything around the command, or nothing. A wait in there ends when the task is to end.
    async fn make(
        &self,
        area: WorkArea,
    ) -> Result<(PreparedTask, Box<Launch>, Streams), DriverError> {
        let (shared, plan, stop) =
            (self.shared.clone(), self.plan.clone(), CancellationToken::new());
        let stopping = stop.clone();
        let mut made = pin!(blocking(move || PreparedTask::make(&shared, &plan, area, &stopping)));
        let made = tokio::select! {
            biased;
            made = &mut made => made,
            () = self.stopped() => {
                stop.cancel();
                made.await
            }
        };
        made.flatten()
    }

    fn has_to_stop(&self) -> bool {
        self.cancel.is_cancelled() || self.closing.is_cancelled()
    }

    async fn launch(
        &self,
        launch: Box<Launch>,
        streams: Streams,
    ) -> Result<(Channel, OwnStreams), LaunchError> {
        let channel = self.shared.supervision.launch(launch, &streams.theirs()).await?;
        let ours = streams.ours;
        drop(streams.theirs);
        let stdin = ours.stdin.map(pipe::Sender::from_owned_fd).transpose()?;
        let stdout = pipe::Receiver::from_owned_fd(ours.stdout)?;
        let stderr = pipe::Receiver::from_owned_fd(ours.stderr)?;
        Ok((channel, (stdin, stdout, stderr)))
    }

    /// Stays with a task until nothing is left of it.
    async fn attend(
        &mut self,
        mut channel: Channel,
        prepared: PreparedTask,
        phase: watch::Sender<Phase>,
        drained: impl Future<Output = ()>,
        kills: Option<u64>,
    ) {
        let mut drained = pin!(drained);
        let mut state = State::default();
        let mut deadline = Deadline::default();
        let grace = self.shared.grace();
        while !(state.gone && (state.drained || self.outcome.is_none())) {
            let ended = state.exit.is_some() || state.gone;
            tokio::select! {
                biased;
                report = channel.report(), if !state.gone => {
                    match report {
                        Ok(Report::Exited(exit)) => state.exit = Some(exit),
                        Ok(Report::Gone { left }) => {
                            state.gone = true;
                            state.left = left;
                        }
                        Ok(Report::Started { .. } | Report::Failed(_)) => {}
                        Err(error) => {
                            state.gone = true;
                            state.lost = Some(error);
                            state.forced = deadline.is_forced();
                        }
                    }
                    if !ended {
                        phase.send_replace(Phase::Ended);
                    }
                }
                () = &mut drained, if !state.drained => state.drained = true,
                () = self.cancel.cancelled(), if !ended && !state.cancelled => {
                    state.cancelled = true;
                    channel.terminate(grace).await;
                    deadline.begin(grace);
                }
                () = self.abandoned.cancelled(), if self.outcome.is_some() => {
                    self.outcome = None;
                    channel.terminate(Duration::ZERO).await;
                    deadline.begin(Duration::ZERO);
                }
                () = self.closing.cancelled(), if !state.closing => {
                    state.closing = true;
                    state.cancelled |= !ended;
                    channel.terminate(grace).await;
                    deadline.begin(grace);
                }
                () = deadline.due(), if !state.gone => {
                    if deadline.pursue(&self.shared.supervision, &channel) == Pursuit::GivenUp {
                        state.gone = true;
                        state.left = 1;
                        phase.send_replace(Phase::Ended);
                    }
                }
                // The end of a task must not depend on who listens.
                () = sleep(grace), if state.gone && state.cancelled => state.drained = true,
                () = sleep(AFTERMATH), if self.outcome.is_some() && state.drained && !state.cancelled && ended => {
                    // What is left now stays until its scope ends.
                    self.tell(self.outcome(&mut state, kills));
                }
            }
        }
        debug!(left = state.left, lost = ?state.lost, "nothing of the task runs any more");
        phase.send_replace(Phase::Over);
        if state.left > 0 {
            self.shared.notify(format!(
                "{} processes of task `{}` could not be ended",
                state.left, self.plan.spec.name
            ));
        } else if state.lost.is_none() {
            self.shared.supervision.recycle(channel);
        }
        let outcome = self.outcome(&mut state, kills);
        // The next task of this name may have the directory from here on.
        self.leave(prepared).await;
        self.tell(outcome);
    }

    /// How many processes the system has ended by now for want of memory, if a volume may suffer by that.
    fn oom_kills(&self) -> Option<u64> {
        if self.plan.spec.container.mounts.is_empty() {
            None
        } else {
            self.shared.oom_kills.count()
        }
    }

    fn outcome(&self, state: &mut State, kills: Option<u64>) -> Outcome {
        match state.outcome(&self.plan.spec.name) {
            // It may have been another task's, and nobody can tell.
            Ok(TaskExit::Code(code)) if self.oom_kills() > kills => {
                Ok(TaskExit::CodeAfterKill(code))
            }
            outcome => outcome,
        }
    }

    fn keep(&self, launch: Option<Box<Launch>>) {
        if let (Some(slot), Some(launch)) = (&self.slot, launch) {
            slot.fill(Kept { launch, _here: self.kept.token(), prepared: None });
        }
    }

    /// Clears what was made for the task, unless somebody still needs it.
    async fn leave(&self, prepared: PreparedTask) {
        let unwanted = match &self.slot {
            Some(slot) => slot.leave(prepared),
            None => Some(prepared),
        };
        if let Some(prepared) = unwanted {
            _ = self.clear(prepared).await;
        }
    }

    /// Clears what was made for the task.
    async fn clear(&self, prepared: PreparedTask) -> Result<WorkArea, DriverError> {
        clear(&self.shared, prepared).await
    }
}

type OwnStreams = (Option<pipe::Sender>, pipe::Receiver, pipe::Receiver);

#[derive(Default)]
struct State {
    exit: Option<Exit>,
    /// Nothing is left of the task but for these processes.
    gone: bool,
    left: usize,
    /// The reaper ended too early.
    lost: Option<std::io::Error>,
    /// The driver ended the task in the reaper's place, and the reaper, too.
    forced: bool,
    /// All output was handed over.
    drained: bool,
    /// The task was made to end, before it ended by itself.
    cancelled: bool,
    closing: bool,
}

impl State {
    fn outcome(&mut self, task: &str) -> Outcome {
        if let Some(source) = self.lost.take().filter(|_| !self.forced) {
            return Err(DriverError::Io { context: format!("lost task `{task}`"), source });
        }
        match self.exit {
            Some(Exit::Code(code)) if !self.cancelled => Ok(TaskExit::Code(code)),
            Some(Exit::Signal(signal)) if !self.cancelled => Ok(TaskExit::Signal(signal)),
            _ => Ok(TaskExit::Cancelled),
        }
    }
}

/// Keeps a share in the open files for as long as what has them open.
async fn holding(share: FileShare, work: impl Future<Output = ()>) {
    let _share = share;
    work.await;
}

/// Writes what the command is to read, as fast as it reads.
async fn feed(stdin: Option<pipe::Sender>, bytes: &[u8], mut phase: watch::Receiver<Phase>) {
    let Some(mut stdin) = stdin else { return };
    tokio::select! {
        // A command that does not read to the end has made its choice.
        _ = stdin.write_all(bytes) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Over) => {}
    }
}
