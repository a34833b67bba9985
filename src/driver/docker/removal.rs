//! Removes one object of the engine, although others may be removing or using it at the same moment. Whether it is
//! ours is the caller's to know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::NetworkDisconnectRequest;
use bollard::query_parameters::{
    InspectNetworkOptions, RemoveContainerOptions, RemoveImageOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::failure::{failed, is_conflict, is_missing};
use super::labels::COPY;
use crate::driver::DriverError;

/// How often to wait for others that remove the same.
const OTHERS: usize = 3;

/// Removes a container, whatever it does, with its anonymous volumes. Returns when it is gone, even if somebody
/// else removes it, too: what it has used can be removed then.
pub async fn remove_container(docker: &Docker, id: &str) -> Result<(), Error> {
    let options = RemoveContainerOptions { v: true, force: true, ..Default::default() };
    for _ in 0..OTHERS {
        match docker.remove_container(id, Some(options.clone())).await {
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) if is_conflict(&error) && error.to_string().contains("in progress") => {
                let options = WaitContainerOptions { condition: "removed".into() };
                let mut answers = std::pin::pin!(docker.wait_container(id, Some(options)));
                // Whether they have removed it shows when it is removed again.
                _ = timeout(docker.timeout(), answers.next()).await;
            }
            removed => return removed,
        }
    }
    docker.remove_container(id, Some(options)).await
}

/// Whether an image is a copy of a task's container, and nobody has given it a name.
pub async fn is_copy(docker: &Docker, id: &str) -> Result<bool, DriverError> {
    match docker.inspect_image(id).await {
        Ok(image) => {
            let names = image.repo_tags.unwrap_or_default();
            let is_named = names.iter().any(|name| !name.starts_with("<none>"));
            Ok(!is_named && image.comment.as_deref() == Some(COPY))
        }
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(failed(format!("cannot look at image `{id}`"), error)),
    }
}

/// Removes a copy of a task's container. One that a user has named meanwhile, or that something of a user's
/// was made from, stays.
pub async fn remove_image(docker: &Docker, id: &str) -> Result<(), Error> {
    if !is_copy(docker, id).await.unwrap_or(false) {
        return Ok(());
    }
    match docker.remove_image(id, None::<RemoveImageOptions>, None).await {
        Err(error) if is_conflict(&error) => Ok(()),
        removed => removed.map(drop),
    }
}

/// What became of a network.
pub enum Removal {
    Gone,
    /// Nothing is in it, but the engine counts otherwise. Before 28.1 it loses an update if several containers
    /// come and go at the same time, and does not notice until it restarts (moby/moby#42119).
    Miscounted,
}

/// Removes a network, and disconnects what somebody else has connected to it. `wait` for the engine, which
/// lets go of it a moment after it has removed the last container.
pub async fn remove_network(docker: &Docker, id: &str, wait: bool) -> Result<Removal, Error> {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_max_times(if wait { 12 } else { 1 });
    let is_empty = AtomicBool::new(false);
    let remove = async || {
        let removed = docker.remove_network(id).await;
        if removed.as_ref().is_err_and(is_in_use) {
            is_empty.store(!disconnect_all(docker, id).await?, Ordering::Relaxed);
        }
        removed
    };
    match remove.retry(pauses).sleep(tokio::time::sleep).when(is_in_use).await {
        Err(error) if is_in_use(&error) && is_empty.into_inner() => Ok(Removal::Miscounted),
        removed => removed.map(|()| Removal::Gone),
    }
}

/// Engines say `has active endpoints`, or since 28.1 `has 1 active endpoint (name)`.
fn is_in_use(error: &Error) -> bool {
    error.to_string().contains("active endpoint")
}

/// Disconnects whatever is still connected to a network. `false` if nothing is.
async fn disconnect_all(docker: &Docker, network: &str) -> Result<bool, Error> {
    let found = docker.inspect_network(network, None::<InspectNetworkOptions>).await?;
    let connected = found.containers.unwrap_or_default();
    let any = !connected.is_empty();
    for name in connected.into_values().filter_map(|endpoint| endpoint.name) {
        let request = NetworkDisconnectRequest { container: name, force: Some(true) };
        // If it fails, removing the network says so.
        _ = docker.disconnect_network(network, request).await;
    }
    Ok(any)
}
