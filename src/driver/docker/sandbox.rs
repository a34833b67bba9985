//! A container that waits, and the commands that run in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::exec::CreateExecOptions;
use bollard::query_parameters::{ContainerArchiveInfoOptions, InspectContainerOptions};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::container::{self, Container};
use super::diagnosis::Subject;
use super::exec::ExecTarget;
use super::failure::{failed, is_missing, no_such_user, words};
use super::init::InitError;
use super::monitor::{CommandEnd, Monitor, Stop, Streams};
use super::output::content;
use super::plan::{self, ContainerPlan, environment};
use super::secrets;
use super::shared::{Shared, supervised};
use super::shell::{DockerKept, Kept};
use super::task_supervisor::{CODE_KILLED, after_kill, tell_start};
use crate::driver::{DriverError, Sandbox, TaskEnd, UpdateSink, check, closed_sandbox};
use crate::task::{SandboxSpec, Stream, TaskExit, TaskSpec};

/// What keeps the container: it gives back what it reads, which shows that it runs, and ends when
/// nobody is connected to it any more.
const KEEPER: &str = "cat";

/// How `runc` says that a container has ended.
const STOPPED: &str = "cannot exec in a stopped";

/// How much the engine's time, as a run knows it, may be wrong, in seconds.
const INACCURACY: i64 = 2;

struct DockerSandbox {
    inner: Arc<Inner>,
    /// The container's name.
    id: String,
}

/// What the commands of a sandbox have in common.
struct Inner {
    shared: Arc<Shared>,
    plan: Arc<ContainerPlan>,
    place: ExecTarget,
    tasks: TaskTracker,
    /// What stays of commands that have ended.
    kept: TaskTracker,
    closing: CancellationToken,
    closed: CancellationToken,
    /// The numbers of the commands that are running.
    numbers: Mutex<BTreeSet<usize>>,
    /// When a command was last ended for using too much memory, in ns after 1970.
    out_of_memory: AtomicI64,
}

pub async fn open(
    shared: &Arc<Shared>,
    spec: &SandboxSpec,
) -> Result<Arc<dyn Sandbox>, DriverError> {
    check::variables(&spec.env, &spec.secret_env)?;
    // What keeps the container is not concerned with the variables of the commands.
    let plan = SandboxSpec { env: Vec::new(), secret_env: Vec::new(), ..spec.clone() };
    let plan = Arc::new(ContainerPlan::new(plan, |name| shared.volume(name))?);
    let (opened, told) = oneshot::channel();
    // Goes on when the caller goes away, so that nothing stays.
    shared.tasks.spawn(host(shared.clone(), plan, opened));
    told.await.unwrap_or_else(|_| {
        let reason = "the run is about to end";
        Err(DriverError::Refused(format!("cannot open sandbox `{}`: {reason}", spec.name)))
    })
}

/// Stays with a sandbox from its start to its removal.
async fn host(
    shared: Arc<Shared>,
    plan: Arc<ContainerPlan>,
    mut opened: oneshot::Sender<Result<Arc<dyn Sandbox>, DriverError>>,
) {
    let closing = shared.closing.child_token();
    let stopped = async {
        tokio::select! {
            () = closing.cancelled() => {}
            () = opened.closed() => {}
        }
    };
    let (guard, lost) = (shared.clone(), format!("cannot open sandbox `{}`", plan.spec.name));
    let started = guard.unless_lost(|| lost, start(shared, plan, &closing, stopped)).await;
    match started {
        Ok(Some((id, inner, streams))) => {
            let inner = Arc::new(inner);
            let sandbox = DockerSandbox { inner: inner.clone(), id };
            if opened.send(Ok(Arc::new(sandbox))).is_err() {
                inner.closing.cancel();
            }
            inner.keep(streams).await;
        }
        Ok(None) => {}
        Err(error) => _ = opened.send(Err(error)),
    }
}

/// Starts the container. `None` if `stopped` came first.
async fn start(
    shared: Arc<Shared>,
    plan: Arc<ContainerPlan>,
    closing: &CancellationToken,
    stopped: impl Future<Output = ()>,
) -> Result<Option<(String, Inner, Streams)>, DriverError> {
    let since = shared.lease.now() - INACCURACY;
    let mut stopped = pin!(stopped);
    let keeper = vec![KEEPER.to_owned()];
    let has_secrets = plan.has_secrets();
    let keeper = if has_secrets { secrets::words(secrets::keeper(keeper)) } else { keeper };
    let started = container::start(&shared, &plan, keeper, true, None, &mut stopped).await?;
    let Some(Container { id, name, mut streams }) = started else { return Ok(None) };
    if has_secrets {
        // One that has ended says why, below.
        _ = streams.input.write_all(&secrets::input_of_keeper(&plan.spec.container.secrets)).await;
    }
    let lost = || format!("lost sandbox `{}`", plan.spec.name);
    let ready = tokio::select! {
        biased;
        () = &mut stopped => Ok(None),
        ready = shared.unless_lost(lost, answers(&mut streams, &plan.spec)) => ready.map(Some),
    };
    if !matches!(ready, Ok(Some(()))) {
        container::remove_soon(&shared, id);
        return ready.map(|_| None);
    }
    let place = ExecTarget {
        docker: shared.docker.clone(),
        container: id,
        name: plan.spec.name.clone(),
        since,
        notices: shared.notices.clone(),
    };
    let inner = Inner {
        shared,
        plan,
        place,
        tasks: TaskTracker::new(),
        kept: TaskTracker::new(),
        closing: closing.clone(),
        closed: CancellationToken::new(),
        numbers: Mutex::default(),
        out_of_memory: AtomicI64::new(0),
    };
    Ok(Some((name, inner, streams)))
}

/// Waits until the container has shown that it runs.
async fn answers(streams: &mut Streams, spec: &SandboxSpec) -> Result<(), DriverError> {
    let lost = |error: Error| failed(format!("cannot open sandbox `{}`", spec.name), error);
    // If it does not run, it says why.
    _ = streams.input.write_all(b"\n").await;
    _ = streams.input.flush().await;
    let mut said = Vec::new();
    while let Some(frame) = streams.output.next().await {
        match content(frame.map_err(lost)?) {
            Some((Stream::Stdout, _)) => return Ok(()),
            Some((Stream::Stderr, bytes)) => said.extend_from_slice(&bytes),
            None => {}
        }
    }
    if let Some(init_error) = InitError::read(&said, KEEPER) {
        return Err(DriverError::Refused(format!(
            "cannot open sandbox `{}`: the image `{}` has to have `{KEEPER}` and a shell, use another \
             image: {}",
            spec.name, spec.container.image, init_error.reason
        )));
    }
    Err(lost(std::io::Error::other("its container has ended").into()))
}

impl Inner {
    /// Refuses a command of another user than the one who can read the files with secrets.
    fn check_user(&self, spec: &TaskSpec) -> Result<(), DriverError> {
        let owner = &self.plan.spec.user;
        match (&spec.exec.command.user, self.plan.spec.container.secrets.is_empty()) {
            (Some(user), false) if owner.as_ref() != Some(user) => {
                Err(DriverError::Refused(format!(
                    "the files with secrets of sandbox `{}` are those of its own user, and `{user}` could not read them; \
                 give the sandbox this `user`, or the command its secrets in `env`",
                    self.plan.spec.name
                )))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the sandbox until it is closed, and removes it then.
    async fn keep(&self, mut streams: Streams) {
        // Whoever waits for the end does not wait for ever, whatever happens here.
        let _closed = self.closed.clone().drop_guard();
        loop {
            tokio::select! {
                () = self.closing.cancelled() => break,
                // What commands write to the output of the container is nobody's.
                frame = streams.output.next() => if frame.is_none() {
                    break self.closing.cancelled().await;
                }
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.kept.close();
        tokio::select! {
            () = self.kept.wait() => {}
            () = self.shared.closing.cancelled() => {}
        }
        // What they have left behind.
        tokio::select! {
            () = self.place.end_all(self.shared.config.grace) => {}
            () = self.shared.lost.cancelled() => {}
        }
        self.shared.remove_container(&self.place.container).await;
    }

    async fn exec(
        self: Arc<Self>,
        spec: TaskSpec,
        command: Vec<String>,
        directory: String,
        updates: UpdateSink,
        cancel: CancellationToken,
        abandoned: oneshot::Receiver<()>,
    ) -> (Result<TaskExit, DriverError>, Option<Kept>) {
        let mut kept = None;
        let ended =
            self.attempt(spec, command, directory, updates, cancel, abandoned, &mut kept).await;
        // What the engine says of the command has another reason then.
        let ended = match ended {
            Err(error) if self.shared.lost.is_cancelled() => Err(error),
            Err(error) if is_about_the_end(&error) || self.has_ended().await => {
                match self.closing.is_cancelled() {
                    true => Ok(TaskExit::Cancelled),
                    false => Err(self.lost()),
                }
            }
            ended => ended,
        };
        (ended, kept)
    }

    async fn has_ended(&self) -> bool {
        let ExecTarget { docker, container, .. } = &self.place;
        match docker.inspect_container(container, None::<InspectContainerOptions>).await {
            Ok(found) => found.state.and_then(|state| state.running) == Some(false),
            Err(error) => is_missing(&error),
        }
    }

    fn lost(&self) -> DriverError {
        DriverError::Io {
            context: format!("lost sandbox `{}`", self.plan.spec.name),
            source: std::io::Error::other("its container has ended, or somebody has removed it"),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that there is of one command")]
    async fn attempt(
        self: &Arc<Self>,
        spec: TaskSpec,
        command: Vec<String>,
        directory: String,
        updates: UpdateSink,
        cancel: CancellationToken,
        mut abandoned: oneshot::Receiver<()>,
        kept: &mut Option<Kept>,
    ) -> Result<TaskExit, DriverError> {
        let mut stop = Stop { cancel: &cancel, closing: &self.closing, abandoned: &mut abandoned };
        let _turn = tokio::select! {
            biased;
            () = stop.requested() => return Ok(TaskExit::Cancelled),
            turn = self.shared.starts.acquire() => turn,
        };
        let not_started = |error| {
            let (name, command) = (&self.plan.spec.name, &spec.exec.command.path);
            if no_such_user(&error) {
                // Older engines say it in place of the command's output.
                return DriverError::CannotStart { command: command.clone(), reason: words(error) };
            }
            failed(format!("cannot start `{command}` in sandbox `{name}`"), error)
        };
        if spec.exec.work_dir.is_some() {
            self.make_directory(&directory).await.map_err(not_started)?;
        }
        let number = Number::take(self);
        let options = CreateExecOptions {
            attach_stdin: Some(spec.exec.stdin.is_some()),
            env: Some(environment(spec.exec.variables())),
            user: spec.exec.command.user.clone(),
            privileged: Some(spec.container.privileged),
            working_dir: Some(directory.clone()),
            ..Default::default()
        };
        let started = self.place.start(number.1, command, options).await;
        let (process, streams) = started.map_err(not_started)?;
        drop(_turn);
        tell_start(&updates, stop.requested()).await;
        if spec.keep {
            let (container, plan) = (self.place.container.clone(), self.plan.clone());
            let (start, _here) = (Some(directory.clone()), Some(self.kept.token()));
            *kept = Some(Kept { container, plan, start, is_own: false, _here });
        }
        let subject = Subject {
            docker: &self.shared.docker,
            container: &self.place.container,
            spec: &spec,
            directory: &directory,
        };
        let read = spec.exec.stdin.as_deref();
        let monitor = Monitor { spec: &spec, read, grace: self.shared.config.grace, updates, stop };
        let lost = || format!("lost task `{}`", spec.name);
        let watching = monitor.watch(&process, streams);
        let exit = async {
            match watching.await? {
                None => Ok(TaskExit::Cancelled),
                Some(ended) if ended.code == CODE_KILLED => {
                    self.killed(ended, &subject, &cancel).await
                }
                Some(ended) => {
                    let exit = ended.exit(&subject, &cancel).await?;
                    // Whichever command it was: all of them have the same volumes mounted.
                    let out_of_memory =
                        !spec.container.mounts.is_empty() && self.was_out_of_memory().await;
                    Ok(if out_of_memory { after_kill(exit) } else { exit })
                }
            }
        };
        self.shared.unless_lost(lost, exit).await
    }

    /// Whether the system has ended something in the sandbox so far for want of memory.
    async fn was_out_of_memory(&self) -> bool {
        if self.plan.spec.container.limits.memory.is_some()
            && let Some(kills) = self.place.oom_kills().await
        {
            return kills > 0;
        }
        let ExecTarget { docker, container, .. } = &self.place;
        let found = docker.inspect_container(container, None::<InspectContainerOptions>).await;
        found.ok().and_then(|found| found.state?.oom_killed).unwrap_or(false)
    }

    /// The engine makes the directory of a container, but not that of a command in it.
    async fn make_directory(&self, path: &str) -> Result<(), Error> {
        let ExecTarget { docker, container, .. } = &self.place;
        let mut missing = Vec::new();
        for path in Path::new(path).ancestors() {
            let options = ContainerArchiveInfoOptions { path: path.to_string_lossy().into_owned() };
            match docker.get_container_archive_info(container, Some(options)).await {
                Ok(_) => break,
                Err(error) if is_missing(&error) => missing.push(path),
                Err(error) => return Err(error),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        container::make_directories(&self.shared, container, missing.into_iter().rev()).await
    }

    /// How a command ended that was killed, which may be for what it did or for its container's end.
    async fn killed(
        &self,
        ended: CommandEnd,
        subject: &Subject<'_>,
        cancel: &CancellationToken,
    ) -> Result<TaskExit, DriverError> {
        let ExecTarget { docker, container, .. } = &self.place;
        let found = docker.inspect_container(container, None::<InspectContainerOptions>).await;
        let state = found.ok().and_then(|found| found.state).unwrap_or_default();
        if state.running != Some(true) {
            return Err(self.lost());
        }
        // The engine hears of it a moment later, and never forgets; only an event says when it was.
        if state.oom_killed == Some(true) || subject.spec.container.limits.memory.is_some() {
            let until = self.shared.lease.now() + 2 * INACCURACY;
            let mut events = pin!(self.place.events(&["oom"], Some(until)));
            while let Some(Ok(event)) = events.next().await {
                let time = event.time_nano.unwrap_or_default();
                if self.out_of_memory.fetch_max(time, Ordering::Relaxed) < time {
                    return Ok(TaskExit::OutOfMemory);
                }
            }
        }
        ended.exit(subject, cancel).await
    }
}

/// Whether a command could not be started since its container has ended, which the engine may learn later
/// than what runs its containers.
fn is_about_the_end(error: &DriverError) -> bool {
    matches!(error, DriverError::CannotStart { reason, .. } if reason.starts_with(STOPPED))
}

/// The number of a command that is running, more than 0.
struct Number<'a>(&'a Inner, usize);

impl<'a> Number<'a> {
    fn take(inner: &'a Inner) -> Self {
        let mut taken = inner.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (1..).find(|number| taken.insert(*number)).unwrap_or(usize::MAX);
        Self(inner, number)
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.0.numbers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn id(&self) -> &str {
        &self.id
    }

    async fn exec(
        &self,
        spec: &TaskSpec,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd {
        let planned = own_path(spec).and_then(|()| plan::command(spec)).and_then(|command| {
            self.inner.check_user(spec)?;
            Ok((command, self.inner.plan.start(spec.exec.work_dir.as_deref())?))
        });
        let (command, directory) = match planned {
            Ok(planned) => planned,
            Err(error) => return Err(error).into(),
        };
        if self.inner.closing.is_cancelled() {
            return Err(closed_sandbox(&self.inner.plan.spec.name)).into();
        }
        // What begins after a close that comes in between ends before it has started anything.
        let (inner, task) = (self.inner.clone(), spec.clone());
        let ended = supervised(&self.inner.tasks, spec.name.clone(), |abandoned| async move {
            let (guard, lost) = (inner.shared.clone(), format!("lost task `{}`", task.name));
            let exec = async {
                Ok(inner.exec(task, command, directory, updates, cancel, abandoned).await)
            };
            guard.unless_lost(|| lost, exec).await
        });
        DockerKept::end(&self.inner.shared, spec, ended.await)
    }

    async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.closed.cancelled().await;
    }
}

/// Refuses a command without a path: what the image runs itself would be a second container.
fn own_path(spec: &TaskSpec) -> Result<(), DriverError> {
    match spec.exec.command.path.is_empty() {
        true => Err(DriverError::Refused(
            "a command in a sandbox needs a path: the command of the image runs in a task of its own"
                .to_owned(),
        )),
        false => Ok(()),
    }
}
