//! One task, from its container's creation to its removal.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::body_full;
use bollard::container::AttachContainerResults;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, KillContainerOptions,
    StartContainerOptions, UploadToContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failure::{failed, no_such_user};
use super::output::{pump, reason};
use super::plan::Plan;
use super::shared::Shared;
use super::sweep::remove_container;
use super::writable::archive;
use crate::driver::{DriverError, OutputSink};
use crate::task::TaskExit;

/// How long the output of a container that had to end waits for a listener.
const PATIENCE: Duration = Duration::from_secs(1);

/// The largest number of a signal.
const SIGNALS: i64 = 64;

/// One run of one task.
pub struct Attempt {
    pub shared: Arc<Shared>,
    pub plan: Plan,
    pub output: OutputSink,
    pub cancel: CancellationToken,
    /// Ends when nobody waits for the result any more.
    pub abandoned: oneshot::Receiver<()>,
}

impl Attempt {
    pub async fn run(mut self) -> Result<TaskExit, DriverError> {
        let shared = self.shared.clone();
        let ready = async {
            let image = shared.images.ensure(&self.plan.spec.image);
            let (image, network) = tokio::try_join!(image, shared.network())?;
            let turn = shared.starts.acquire().await;
            Ok::<_, DriverError>((image, network, turn.ok()))
        };
        let (image, network, turn) = tokio::select! {
            biased;
            _ = stopped(&self.cancel, &self.shared.closing, &mut self.abandoned) => {
                return Ok(TaskExit::Cancelled);
            }
            ready = ready => ready?,
        };
        let docker = &self.shared.docker;
        let spec = &self.plan.spec;
        let container = self.plan.container(&self.shared.labels, network);
        let name = Some(self.shared.container_name());
        let options = CreateContainerOptions { name, ..Default::default() };
        let created = docker.create_container(Some(options), container).await;
        let id = created
            .map_err(|error| {
                failed(format!("cannot create a container for `{}`", spec.name), error)
            })?
            .id;
        let as_user = spec.command.user.is_some() || image.user.is_some();
        let result = match self.start(&id, as_user).await {
            Ok(attached) => {
                drop(turn);
                self.attend(&id, attached).await
            }
            Err(error) => Err(error),
        };
        // The result need not wait for that.
        let shared = self.shared.clone();
        self.shared.tasks.spawn(async move {
            // What cannot be removed now is looked for again at the end, which reports it.
            _ = remove_container(&shared.docker, &id).await;
        });
        result
    }

    async fn start(&self, id: &str, as_user: bool) -> Result<AttachContainerResults, DriverError> {
        let docker = &self.shared.docker;
        let task = &self.plan.spec.name;
        let context = |what: &str| format!("cannot {what} the container of `{task}`");
        if as_user {
            // The engine would make them for root alone.
            let body = body_full(Bytes::from(archive(self.plan.writable())));
            let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
            docker
                .upload_to_container(id, Some(options), body)
                .await
                .map_err(|error| failed(context("prepare"), error))?;
        }
        let options = AttachContainerOptions {
            stream: true,
            stdin: self.plan.spec.stdin.is_some(),
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        // Before it starts, so that nothing is missed.
        let attached = docker.attach_container(id, Some(options)).await;
        let attached = attached.map_err(|error| failed(context("attach to"), error))?;
        match docker.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(attached),
            Err(error) => Err(match (&self.plan.spec.command.user, no_such_user(&error)) {
                (Some(user), true) => DriverError::Refused(format!(
                    "user `{user}`: there is no such user or group in the image `{}`",
                    self.plan.spec.image
                )),
                _ => failed(context("start"), error),
            }),
        }
    }

    /// Passes everything on until the container has ended.
    async fn attend(
        &mut self,
        id: &str,
        attached: AttachContainerResults,
    ) -> Result<TaskExit, DriverError> {
        let Self { shared, plan, output, cancel, abandoned } = self;
        let (docker, spec) = (&shared.docker, &plan.spec);
        let lost = |error| failed(format!("lost task `{}`", spec.name), error);
        let ended = CancellationToken::new();
        let had_to_end = AtomicBool::new(false);
        let wait = async {
            let code = wait(docker, id).await;
            ended.cancel();
            code
        };
        let feed = feed(attached.input, spec.stdin.as_deref(), &ended);
        // An engine does not notice the end of a container, nor answers questions about it, while its
        // output goes nowhere.
        let discard = CancellationToken::new();
        let pump = pump(attached.output, output.clone(), &discard);
        let work = async { tokio::join!(wait, feed, pump) };
        let end = async {
            tokio::select! {
                biased;
                () = ended.cancelled() => std::future::pending().await,
                () = until_stopped(cancel, &shared.closing) => {
                    had_to_end.store(true, Ordering::Relaxed);
                    tokio::select! {
                        () = ended.cancelled() => {}
                        _ = &mut *abandoned => {}
                        () = tokio::time::sleep(shared.config.grace) => {}
                        never = asked(docker, id, "SIGTERM") => match never {},
                    }
                }
                _ = &mut *abandoned => had_to_end.store(true, Ordering::Relaxed),
            }
            let force = async {
                tokio::time::sleep(PATIENCE).await;
                discard.cancel();
                std::future::pending().await
            };
            tokio::select! {
                () = ended.cancelled() => {}
                never = asked(docker, id, "SIGKILL") => match never {},
                never = force => never,
            }
            tokio::time::sleep(PATIENCE).await;
        };
        let (code, not_started) = tokio::select! {
            (code, (), not_started) = work => {
                (code.map_err(lost)?, not_started.map_err(lost)?)
            }
            () = end => return Ok(TaskExit::Cancelled),
        };
        if had_to_end.into_inner() {
            return Ok(TaskExit::Cancelled);
        }
        match (code, not_started) {
            (126 | 127, Some(line)) => Err(DriverError::CannotStart {
                command: spec.command.path.clone(),
                reason: format!("{} in the image `{}`", reason(&line).to_lowercase(), spec.image),
            }),
            (137, _) if was_out_of_memory(docker, id).await => Ok(TaskExit::OutOfMemory),
            // The engine reports a signal as a shell does.
            (code @ 129.., _) if code - 128 <= SIGNALS => Ok(TaskExit::Signal(number(code - 128))),
            (code, _) => Ok(TaskExit::Code(number(code))),
        }
    }
}

fn number(code: i64) -> i32 {
    i32::try_from(code).unwrap_or(i32::MAX)
}

async fn until_stopped(cancel: &CancellationToken, closing: &CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = closing.cancelled() => {}
    }
}

async fn stopped(
    cancel: &CancellationToken,
    closing: &CancellationToken,
    abandoned: &mut oneshot::Receiver<()>,
) {
    tokio::select! {
        () = until_stopped(cancel, closing) => {}
        _ = abandoned => {}
    }
}

/// The exit code of a container that has been started, when it has ended.
async fn wait(docker: &bollard::Docker, id: &str) -> Result<i64, Error> {
    let options = WaitContainerOptions { condition: "not-running".into() };
    let mut answers = std::pin::pin!(docker.wait_container(id, Some(options)));
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
        Some(Err(error)) => Err(error),
        None => Err(std::io::Error::other("the engine stopped answering").into()),
    }
}

/// Writes what the command is to read, as fast as it reads.
async fn feed(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    bytes: Option<&[u8]>,
    ended: &CancellationToken,
) {
    let Some(bytes) = bytes else { return };
    let write = async {
        // A command that does not read to the end has made its choice.
        if input.write_all(bytes).await.is_ok() {
            _ = input.shutdown().await;
        }
    };
    tokio::select! {
        () = write => {}
        () = ended.cancelled() => {}
    }
}

/// Sends a signal, and does not end. A container that has ended by itself does not mind, and if the
/// engine is gone, waiting for the container ends as well.
async fn asked(docker: &bollard::Docker, id: &str, signal: &str) -> std::convert::Infallible {
    let options = KillContainerOptions { signal: signal.into() };
    _ = docker.kill_container(id, Some(options)).await;
    std::future::pending().await
}

async fn was_out_of_memory(docker: &bollard::Docker, id: &str) -> bool {
    let found = docker.inspect_container(id, None::<InspectContainerOptions>).await;
    found.ok().and_then(|found| found.state?.oom_killed).unwrap_or(false)
}
