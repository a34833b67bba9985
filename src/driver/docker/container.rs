//! From a plan to a container that runs.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use bollard::Docker;
use bollard::body_full;
use bollard::container::AttachContainerResults;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerStateStatusEnum};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
    UploadToContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tracing::debug;

use super::failure::{
    failed, is_conflict, is_missing, is_no_directory, is_read_only, no_such_user,
};
use super::monitor::Streams;
use super::plan::ContainerPlan;
use super::secrets;
use super::shared::Shared;
use super::writable::archive;
use crate::driver::{DriverError, UpdateSink};

/// A container that has been started.
pub struct Container {
    pub id: String,
    pub name: String,
    pub streams: Streams,
}

/// How often to create a container anew that somebody removes before it has started, or for which somebody
/// removes the image or the network.
const ATTEMPTS: usize = 8;

/// Starts a command in a container of its own. `None` if `stopped` came first.
pub async fn start(
    shared: &Arc<Shared>,
    plan: &ContainerPlan,
    command: Vec<String>,
    with_stdin: bool,
    updates: Option<&UpdateSink>,
    stopped: impl Future<Output = ()>,
) -> Result<Option<Container>, DriverError> {
    let mut stopped = pin!(stopped);
    let spec = &plan.spec;
    if plan.has_secrets() {
        shared
            .unless_lost(|| "the engine is lost".to_owned(), secrets::check_engine(shared))
            .await?;
    }
    let mut attempt = 1;
    loop {
        let ready = async {
            let image = shared.images.ensure(&spec.container.image, updates).await?;
            let turn = shared.starts.acquire().await;
            // A pull and a turn may take long.
            let network = shared.network(&spec.container).await?;
            Ok::<_, DriverError>((image, network, turn.ok()))
        };
        let lost = || format!("cannot create a container for `{}`", spec.name);
        let (image, network, _turn) = tokio::select! {
            biased;
            () = &mut stopped => return Ok(None),
            ready = shared.unless_lost(lost, ready) => ready?,
        };
        let body = plan.container(&shared.labels, network, command.clone(), with_stdin);
        let as_user = spec.user.is_some() || image.user.is_some();
        match create_and_start(shared, plan, body, with_stdin, as_user).await {
            Err(Failed { is_missing: true, error }) if attempt < ATTEMPTS => {
                debug!(%error, attempt, "makes a container again that somebody has removed");
                // As `docker system prune` does, which takes whatever is not running.
                shared.images.forget(&spec.container.image);
                attempt += 1;
            }
            Err(failed) => return Err(failed.error),
            Ok(container) => return Ok(Some(container)),
        }
    }
}

/// Why a container does not run.
struct Failed {
    error: DriverError,
    /// Whether something was not there that had been there before.
    is_missing: bool,
}

impl From<DriverError> for Failed {
    fn from(error: DriverError) -> Self {
        Self { error, is_missing: false }
    }
}

async fn create_and_start(
    shared: &Arc<Shared>,
    plan: &ContainerPlan,
    body: ContainerCreateBody,
    with_stdin: bool,
    as_user: bool,
) -> Result<Container, Failed> {
    let (id, name) = try_create(shared, plan, body).await?;
    match attach_and_start(shared, plan, &id, with_stdin, as_user).await {
        Ok(streams) => Ok(Container { id, name, streams }),
        Err(error) => {
            remove_soon(shared, id);
            Err(error)
        }
    }
}

/// Creates a container and returns what the engine knows it by, and its name.
pub async fn create(
    shared: &Shared,
    plan: &ContainerPlan,
    body: ContainerCreateBody,
) -> Result<(String, String), DriverError> {
    try_create(shared, plan, body).await.map_err(|failed| failed.error)
}

async fn try_create(
    shared: &Shared,
    plan: &ContainerPlan,
    body: ContainerCreateBody,
) -> Result<(String, String), Failed> {
    let name = shared.container_name();
    let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
    let created = shared.docker.create_container(Some(options), body).await;
    let context = || format!("cannot create a container for `{}`", plan.spec.name);
    let id = match created {
        Ok(created) => created.id,
        Err(error) if is_no_directory(&error) => return Err(plan.no_directory().into()),
        Err(error) => {
            let is_missing = is_missing(&error);
            return Err(Failed { error: failed(context(), error), is_missing });
        }
    };
    debug!(id, name, "created a container");
    shared.confirm(&id, plan.volumes()).await?;
    Ok((id, name))
}

async fn attach_and_start(
    shared: &Shared,
    plan: &ContainerPlan,
    id: &str,
    with_stdin: bool,
    as_user: bool,
) -> Result<Streams, Failed> {
    let docker = &shared.docker;
    let context = async |what: &str, error: Error| {
        let is_missing = is_removed(shared, id, &error).await;
        let context = format!("cannot {what} the container of `{}`", plan.spec.name);
        Failed { error: failed(context, error), is_missing }
    };
    if as_user {
        // The engine would make them for root alone.
        if let Err(error) = make_directories(shared, id, plan.writable()).await {
            return Err(context("prepare", error).await);
        }
    }
    if plan.has_secrets()
        && let Err(error) = secrets::prepare(shared, id, plan).await
    {
        return Err(context("prepare", error).await);
    }
    let options = AttachContainerOptions {
        stream: true,
        stdin: with_stdin,
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    // Before it starts, so that nothing is missed.
    let AttachContainerResults { output, input } =
        match docker.attach_container(id, Some(options)).await {
            Ok(attached) => attached,
            Err(error) => return Err(context("attach to", error).await),
        };
    match docker.start_container(id, None::<StartContainerOptions>).await {
        Ok(()) => {
            debug!(id, "started a container");
            Ok(Streams { output, input })
        }
        Err(error) => Err(match (&plan.spec.user, no_such_user(&error)) {
            (Some(user), true) => DriverError::Refused(format!(
                "user `{user}`: there is no such user or group in the image `{}`",
                plan.spec.container.image
            ))
            .into(),
            _ if is_no_directory(&error) => plan.no_directory().into(),
            _ => match plan.below_read_only().filter(|_| is_read_only(&error)) {
                Some(path) => DriverError::Refused(format!(
                    "mount path `{path}`: there is no such directory in the read-only volume above it; make it \
                     there before"
                ))
                .into(),
                None => context("start", error).await,
            },
        }),
    }
}

/// Whether an error means that somebody has removed a container, or is removing it. The engine answers then
/// that there is none, that it is marked for removal, or with what the removal has broken.
pub async fn is_removed(shared: &Shared, id: &str, error: &Error) -> bool {
    if is_missing(error) || is_conflict(error) {
        return true;
    }
    match shared.docker.inspect_container(id, None::<InspectContainerOptions>).await {
        Ok(found) => {
            let status = found.state.and_then(|state| state.status);
            let removed = [ContainerStateStatusEnum::REMOVING, ContainerStateStatusEnum::DEAD];
            status.is_some_and(|status| removed.contains(&status))
        }
        Err(error) => is_missing(&error),
    }
}

/// Makes directories that everybody may write to, by their absolute paths.
pub async fn make_directories<'a>(
    shared: &Shared,
    id: &str,
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Error> {
    let body = body_full(Bytes::from(archive(paths)));
    let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
    shared.docker.upload_to_container(id, Some(options), body).await
}

/// Removes a container without anybody waiting for it.
pub fn remove_soon(shared: &Arc<Shared>, id: String) {
    let remover = shared.clone();
    shared.tasks.spawn(async move { remover.remove_container(&id).await });
}

/// The exit code of a container, when there is one.
pub async fn code(docker: &Docker, id: &str) -> Result<i64, Error> {
    let options = WaitContainerOptions { condition: "not-running".into() };
    let mut answers = std::pin::pin!(docker.wait_container(id, Some(options)));
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
        Some(Err(error)) => Err(error),
        None => Err(std::io::Error::other("the engine stopped answering").into()),
    }
}
