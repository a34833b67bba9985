//! A shell where a task has run: in a container of its own, that is a copy of the task's.
//!
//! A container that has ended can only be started again with the command that it has had.
//!
//! It has the task's variables without those that are secrets, which are in no configuration of a container.
//!
//! So the container is committed to an image without a name, which has the run's labels and is removed with
//! the shell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::models::ContainerConfig;
use bollard::query_parameters::{
    CommitContainerOptions, KillContainerOptions, ResizeContainerTTYOptions, StartContainerOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::container;
use super::engine::patient;
use super::failure::failed;
use super::init::InitError;
use super::labels::{COPY, IMAGE, SHELL_IMAGE};
use super::plan::{ContainerPlan, environment, plain};
use super::removal::remove_image;
use super::shared::{Shared, silent};
use crate::driver::{DriverError, KeptTask, SHELL, TaskEnd, Terminal, WindowSize};
use crate::task::{TaskExit, TaskSpec};

/// What stays of a task that has ended.
#[derive(Clone)]
pub struct Kept {
    pub container: String,
    pub plan: Arc<ContainerPlan>,
    /// Where the command started, unless that is the plan's own directory.
    pub start: Option<String>,
    /// Whether the container is there for the task alone.
    pub is_own: bool,
    /// Makes the end of a sandbox wait.
    pub _here: Option<TaskTrackerToken>,
}

/// A task that was kept.
pub struct DockerKept {
    shared: Arc<Shared>,
    task: TaskSpec,
    kept: Kept,
}

impl DockerKept {
    /// The end of a task, with what is kept of it.
    pub fn end(
        shared: &Arc<Shared>,
        task: &TaskSpec,
        ended: Result<(Result<TaskExit, DriverError>, Option<Kept>), DriverError>,
    ) -> TaskEnd {
        let (exit, kept) = match ended {
            Ok((exit, kept)) => (exit, kept),
            Err(error) => (Err(error), None),
        };
        let kept = kept.map(|kept| Self { shared: shared.clone(), task: task.clone(), kept });
        TaskEnd { exit, kept: kept.map(|kept| Box::new(kept) as Box<dyn KeptTask>) }
    }
}

#[async_trait]
impl KeptTask for DockerKept {
    async fn shell(&self, terminal: Terminal) -> Result<(), DriverError> {
        let (shared, task, kept) = (self.shared.clone(), self.task.clone(), self.kept.clone());
        // To the end, even if nobody waits for it any more.
        let shell = async move {
            let lost = || format!("lost the shell for task `{}`", task.name);
            shared.unless_lost(lost, run(&shared, &task, &kept, terminal)).await
        };
        self.shared.tasks.spawn(shell).await.map_err(|error| DriverError::Io {
            context: format!("lost the shell for task `{}`", self.task.name),
            source: error.into(),
        })?
    }

    async fn discard(self: Box<Self>) {
        let Self { shared, kept, .. } = *self;
        if kept.is_own {
            container::remove_soon(&shared, kept.container);
        }
    }
}

/// How much longer the engine may take to copy a container when nobody wants the copy any more.
const LAST_COPY: Duration = Duration::from_secs(10);

/// More than what the init process says of a command that it could not start.
const LONGEST_ERROR: usize = 4096;

/// How much of a terminal's output is passed on at once.
const CHUNK: usize = 16 << 10;

/// Runs a shell to its end, and removes what was made for it.
async fn run(
    shared: &Arc<Shared>,
    task: &TaskSpec,
    kept: &Kept,
    terminal: Terminal,
) -> Result<(), DriverError> {
    let copied = copy(shared, kept.container.clone(), &terminal.gone).await;
    let context = || format!("cannot copy the container of task `{}`", task.name);
    let Some(image) = copied.map_err(|error| failed(context(), error))? else { return Ok(()) };
    let ended = in_image(shared, task, kept, &image, terminal).await;
    discard(shared, &image).await;
    ended
}

/// Makes an image of a container. `None` if `gone` came first: what is made then is removed again by the
/// end of the run.
async fn copy(
    shared: &Arc<Shared>,
    container: String,
    gone: &CancellationToken,
) -> Result<Option<String>, Error> {
    let options = CommitContainerOptions {
        container: Some(container),
        changes: Some(format!("LABEL {IMAGE}={SHELL_IMAGE}")),
        comment: Some(COPY.to_owned()),
        // A sandbox goes on meanwhile.
        pause: false,
        ..Default::default()
    };
    let docker = patient(&shared.docker);
    let (mut told, mut copied) = oneshot::channel();
    let copier = shared.clone();
    shared.tasks.spawn(async move {
        let make = docker.commit_container(options, ContainerConfig::default());
        let made = tokio::select! {
            made = make => made,
            () = copier.lost.cancelled() => Err(Error::IOError { err: silent(copier.config.patience) }),
            () = async {
                told.closed().await;
                sleep(LAST_COPY).await;
            } => {
                (copier.notices)(
                    "the engine is still copying a container for a shell that is not wanted any more, \
                     remove the copy with `ci prune` later"
                        .into(),
                );
                return;
            }
        };
        if let Err(Ok(unwanted)) = told.send(made.map(|made| made.id)) {
            discard(&copier, &unwanted).await;
        }
    });
    let made = tokio::select! {
        made = &mut copied => made,
        () = async {
            tokio::select! {
                () = gone.cancelled() => {}
                () = shared.closing.cancelled() => {}
            }
        } => {
            copied.close();
            match copied.try_recv() {
                // It came at the same moment, and has no other owner.
                Ok(made) => Ok(made),
                Err(_) => return Ok(None),
            }
        }
    };
    made.unwrap_or_else(|_| Err(std::io::Error::other("the copy was lost").into())).map(Some)
}

/// Removes an image. What cannot be removed now is looked for again at the end, which reports it.
async fn discard(shared: &Shared, image: &str) {
    let docker = patient(&shared.docker);
    tokio::select! {
        _ = remove_image(&docker, image) => {}
        () = shared.lost.cancelled() => {}
    }
}

async fn in_image(
    shared: &Arc<Shared>,
    task: &TaskSpec,
    kept: &Kept,
    image: &str,
    terminal: Terminal,
) -> Result<(), DriverError> {
    let network = shared.network(&kept.plan.spec.container).await?;
    let mut body =
        kept.plan.container(&shared.labels, network, SHELL.map(str::to_owned).into(), true);
    body.image = Some(image.to_owned());
    body.tty = Some(true);
    body.user = task.exec.command.user.clone();
    let mut env = task.exec.env.clone();
    env.push(("TERM".to_owned(), terminal.kind.clone()));
    body.env = Some(environment(plain(&env)));
    if let Some(start) = &kept.start {
        body.working_dir = Some(start.clone());
    }
    // Or it would have that of its image, and so would what a user makes of it.
    body.labels.get_or_insert_default().insert(IMAGE.to_owned(), String::new());
    if let Some(host) = &mut body.host_config {
        // What is in volumes that the image asks for is not copied.
        host.volumes_from = Some(vec![kept.container.clone()]);
        // Or a shell of a fast engine would see none at first. Engines before 23 do not look at this.
        let WindowSize { rows, columns } = *terminal.size.borrow();
        host.console_size = Some(vec![rows.into(), columns.into()]);
    }
    let (id, _) = container::create(shared, &kept.plan, body).await?;
    let context = || format!("cannot run a shell for task `{}`", task.name);
    let interact =
        async { interact(shared, &id, terminal).await.map_err(|error| failed(context(), error)) };
    let ended = shared.unless_lost(context, interact).await;
    shared.remove_container(&id).await;
    match ended {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(DriverError::CannotStart {
            command: SHELL[0].to_owned(),
            reason: format!("{reason} in the image `{}`", task.container.image),
        }),
        Err(error) => Err(error),
    }
}

/// Connects the terminal to a container until that has ended. Returns what was said of a shell that
/// could not be started.
async fn interact(shared: &Shared, id: &str, terminal: Terminal) -> Result<Option<String>, Error> {
    let Terminal { mut input, output, mut size, gone, opened, .. } = terminal;
    let docker = &shared.docker;
    // Before it starts, so that nothing is missed.
    let (mut screen, mut keys) = shared.engine.transport.attach(docker, id).await?;
    docker.start_container(id, None::<StartContainerOptions>).await?;
    opened.cancel();
    let resize = async |WindowSize { rows, columns }| {
        let options = ResizeContainerTTYOptions { h: rows.into(), w: columns.into() };
        // A size that is wrong is no reason to end.
        _ = docker.resize_container_tty(id, options).await;
    };
    let first_size = *size.borrow_and_update();
    let sizes = async {
        while size.changed().await.is_ok() {
            let now = *size.borrow_and_update();
            resize(now).await;
        }
        std::future::pending::<()>().await;
    };
    let feed = async {
        // Before the keys that were typed early: what they start may ask for the size.
        resize(first_size).await;
        while let Some(bytes) = input.recv().await {
            // A shell that does not read has ended, which its output shows.
            if keys.write_all(&bytes).await.is_err() || keys.flush().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut said = Vec::new();
    let show = async {
        let mut bytes = vec![0; CHUNK];
        loop {
            let count = screen.read(&mut bytes).await?;
            if count == 0 {
                break;
            }
            let room = LONGEST_ERROR - said.len();
            said.extend_from_slice(&bytes[..count.min(room)]);
            _ = output.send(bytes[..count].to_vec()).await;
        }
        container::code(docker, id).await
    };
    let code = tokio::select! {
        code = show => code?,
        () = async {
            tokio::select! {
                () = feed => {}
                () = sizes => {}
                () = gone.cancelled() => {}
                () = shared.closing.cancelled() => {}
            }
        } => {
            // Newer engines do not end what has output that nobody takes.
            drop((screen, keys));
            let options = KillContainerOptions { signal: "SIGKILL".into() };
            // It may have ended at this moment, and is removed in any case.
            _ = docker.kill_container(id, Some(options)).await;
            return Ok(None);
        }
    };
    // The terminal may have echoed keys behind it.
    let first = said.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let init_error = InitError::read(first, SHELL[0]).filter(|_| code != 0);
    Ok(init_error.map(|init_error| init_error.reason))
}
