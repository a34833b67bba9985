//! From a plan to a container that runs.

use std::path::Path;
use std::sync::Arc;

use bollard::body_full;
use bollard::container::AttachContainerResults;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, StartContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;

use super::attend::Streams;
use super::engine::patient;
use super::failure::{failed, no_such_user};
use super::plan::Plan;
use super::shared::Shared;
use super::sweep::remove_container;
use super::writable::archive;
use crate::driver::DriverError;

/// A container that has been started.
pub struct Container {
    pub id: String,
    pub name: String,
    pub streams: Streams,
}

/// Starts a command in a container of its own. `None` if `stopped` came first.
pub async fn start(
    shared: &Arc<Shared>,
    plan: &Plan,
    command: Vec<String>,
    with_stdin: bool,
    stopped: impl Future<Output = ()>,
) -> Result<Option<Container>, DriverError> {
    let ready = async {
        let image = shared.images.ensure(&plan.spec.image).await?;
        let turn = shared.starts.acquire().await;
        // A pull and a turn may take long.
        let network = shared.network().await?;
        Ok::<_, DriverError>((image, network, turn.ok()))
    };
    let lost = || format!("cannot create a container for `{}`", plan.spec.name);
    let (image, network, _turn) = tokio::select! {
        biased;
        () = stopped => return Ok(None),
        ready = shared.unless_lost(lost, ready) => ready?,
    };
    let spec = &plan.spec;
    let body = plan.container(&shared.labels, network, command, with_stdin);
    let (id, name) = create(shared, plan, body).await?;
    let as_user = spec.user.is_some() || image.user.is_some();
    match attach_and_start(shared, plan, &id, with_stdin, as_user).await {
        Ok(streams) => Ok(Some(Container { id, name, streams })),
        Err(error) => {
            remove_soon(shared, id);
            Err(error)
        }
    }
}

/// Creates a container and returns what the engine knows it by, and its name.
pub async fn create(
    shared: &Shared,
    plan: &Plan,
    body: ContainerCreateBody,
) -> Result<(String, String), DriverError> {
    let name = shared.container_name();
    let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
    let created = shared.docker.create_container(Some(options), body).await;
    let context = || format!("cannot create a container for `{}`", plan.spec.name);
    let id = created.map_err(|error| failed(context(), error))?.id;
    shared.confirm(&id, plan.volumes()).await?;
    Ok((id, name))
}

async fn attach_and_start(
    shared: &Shared,
    plan: &Plan,
    id: &str,
    with_stdin: bool,
    as_user: bool,
) -> Result<Streams, DriverError> {
    let docker = &shared.docker;
    let context = |what: &str| format!("cannot {what} the container of `{}`", plan.spec.name);
    if as_user {
        // The engine would make them for root alone.
        make_directories(shared, id, plan.writable())
            .await
            .map_err(|error| failed(context("prepare"), error))?;
    }
    let options = AttachContainerOptions {
        stream: true,
        stdin: with_stdin,
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    // Before it starts, so that nothing is missed.
    let attached = docker.attach_container(id, Some(options)).await;
    let AttachContainerResults { output, input } =
        attached.map_err(|error| failed(context("attach to"), error))?;
    match docker.start_container(id, None::<StartContainerOptions>).await {
        Ok(()) => Ok(Streams { output, input }),
        Err(error) => Err(match (&plan.spec.user, no_such_user(&error)) {
            (Some(user), true) => DriverError::Refused(format!(
                "user `{user}`: there is no such user or group in the image `{}`",
                plan.spec.image
            )),
            _ => failed(context("start"), error),
        }),
    }
}

/// Makes directories that everybody may write to, by their absolute paths.
pub async fn make_directories<'a>(
    shared: &Shared,
    id: &str,
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<(), bollard::errors::Error> {
    let body = body_full(Bytes::from(archive(paths)));
    let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
    shared.docker.upload_to_container(id, Some(options), body).await
}

/// Removes a container without anybody waiting for it.
pub fn remove_soon(shared: &Arc<Shared>, id: String) {
    let remover = shared.clone();
    shared.tasks.spawn(async move { remove(&remover, &id).await });
}

/// Removes a container. What cannot be removed now is looked for again at the end, which reports it.
pub async fn remove(shared: &Shared, id: &str) {
    let docker = patient(&shared.docker);
    tokio::select! {
        _ = remove_container(&docker, id) => {}
        () = shared.lost.cancelled() => {}
    }
}
