//! Clears what runs left behind that were killed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::NetworkDisconnectRequest;
use bollard::query_parameters::{
    InspectNetworkOptions, ListContainersOptions, ListImagesOptions, ListNetworksOptions,
    ListVolumesOptions, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
    WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::engine::patient;
use super::failure::{failed, is_conflict, is_missing};
use super::labels::{self, IMAGE, NAMESPACE, RUN, SHELL_IMAGE, is_of_run, network_name};
use super::lease;
use crate::driver::{DriverError, Pruned};

/// How often to wait for others that remove the same.
const OTHERS: usize = 3;

/// What became of the objects of some runs.
#[derive(Debug, Default)]
pub struct Cleared {
    pub removed: Pruned,
    /// The names of networks that the engine keeps, since it [counts](Removal::Miscounted) containers in
    /// them that are no more.
    pub miscounted: Vec<String>,
}

/// What to do about such networks.
pub fn miscounted(networks: &[String]) -> String {
    format!(
        "the engine keeps `{}`, since it counts containers there although none is left; restart the \
         engine, then run `ci prune`",
        networks.join("`, `")
    )
}

/// The objects of some runs.
#[derive(Debug, Default)]
pub struct Objects {
    /// Engine's names and runs.
    containers: Vec<(String, String)>,
    volumes: Vec<(String, String)>,
    networks: Vec<(String, String)>,
    images: Vec<(String, String)>,
    leases: Vec<(String, String)>,
    /// Until when a run counts as alive by its lease.
    until: HashMap<String, i64>,
}

impl Objects {
    /// All that has a label, with this value if there is one.
    pub async fn find(
        docker: &Docker,
        label: &str,
        value: Option<&str>,
    ) -> Result<Self, DriverError> {
        let context = |what: &str| format!("cannot list the {what} of runs");
        let filters = Some(labels::filter(label, value));
        let mut found = Self::default();
        // Containers come last: the lease of whatever was found before them is among them, since a
        // run takes it first.
        let volumes = ListVolumesOptions { filters: filters.clone() };
        let volumes = docker.list_volumes(Some(volumes)).await;
        let volumes = volumes.map_err(|error| failed(context("volumes"), error))?;
        for mut volume in volumes.volumes.into_iter().flatten() {
            if let Some(run) = volume.labels.remove(RUN) {
                found.volumes.push((volume.name, run));
            }
        }
        let networks = ListNetworksOptions { filters: filters.clone() };
        let networks = docker.list_networks(Some(networks)).await;
        for network in networks.map_err(|error| failed(context("networks"), error))? {
            let run = network.labels.and_then(|mut labels| labels.remove(RUN));
            if let (Some(id), Some(run)) = (network.id, run) {
                found.networks.push((id, run));
            }
        }
        // What users make of a container has its labels, too, but not this one.
        let mut marked = labels::filter(label, value);
        marked.entry("label".to_owned()).or_default().push(format!("{IMAGE}={SHELL_IMAGE}"));
        let images = ListImagesOptions { filters: Some(marked), ..Default::default() };
        let images = docker.list_images(Some(images)).await;
        for mut image in images.map_err(|error| failed(context("images"), error))? {
            if let Some(run) = image.labels.remove(RUN) {
                found.images.push((image.id, run));
            }
        }
        let containers = ListContainersOptions { all: true, filters, ..Default::default() };
        let containers = docker.list_containers(Some(containers)).await;
        for container in containers.map_err(|error| failed(context("containers"), error))? {
            let run = container.labels.and_then(|mut labels| labels.remove(RUN));
            if let (Some(id), Some(run)) = (container.id, run) {
                let names = container.names.unwrap_or_default();
                // Those that users make from a copy of a task's container have its labels.
                if !names.iter().any(|name| is_of_run(name, &run)) {
                    continue;
                }
                match names.iter().find_map(|name| lease::until(name)) {
                    Some(until) => {
                        found.until.insert(run.clone(), until);
                        found.leases.push((id, run));
                    }
                    None => found.containers.push((id, run)),
                }
            }
        }
        Ok(found)
    }

    /// Takes the leases out.
    pub fn take_leases(&mut self) -> Self {
        Self { leases: std::mem::take(&mut self.leases), ..Self::default() }
    }

    fn runs(&self) -> HashSet<&str> {
        let Self { containers, volumes, networks, images, leases, .. } = self;
        let objects = [containers, volumes, networks, images, leases];
        objects.into_iter().flatten().map(|(_, run)| run.as_str()).collect()
    }

    /// Keeps the objects of these runs.
    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let Self { containers, volumes, networks, images, leases, .. } = self;
        for objects in [containers, volumes, networks, images, leases] {
            objects.retain(|(_, run)| keep(run));
        }
    }

    /// Removes all of them, containers first, since those use the others, and leases last, so that
    /// nobody takes what is left for a dead run's. Goes on after an error, and returns the first one.
    ///
    /// Where containers have `just_ended`, the engine may be about to let go of what they used.
    pub async fn remove(&self, docker: &Docker, just_ended: bool) -> Result<Cleared, DriverError> {
        // The engine takes its time for what is large.
        let docker = &patient(docker);
        let mut pruned = Pruned::default();
        let mut miscounted = Vec::new();
        let mut first = Ok(());
        let mut note = |removed: Result<(), Error>, what: &str, name: &str, count: &mut usize| {
            match removed {
                Ok(()) => *count += 1,
                // Somebody else removes it, or has done so.
                Err(error) if is_missing(&error) => {}
                Err(error) => {
                    if first.is_ok() {
                        first = Err(failed(format!("cannot remove {what} `{name}`"), error));
                    }
                }
            }
        };
        for (id, _) in &self.containers {
            note(remove_container(docker, id).await, "container", id, &mut pruned.containers);
        }
        for (id, run) in &self.networks {
            let wait = just_ended || self.containers.iter().any(|(_, of)| of == run);
            let removed = match remove_network(docker, id, wait).await {
                Ok(Removal::Miscounted) => {
                    miscounted.push(network_name(run));
                    continue;
                }
                removed => removed.map(drop),
            };
            note(removed, "network", id, &mut pruned.networks);
        }
        for (name, _) in &self.volumes {
            let options = Some(RemoveVolumeOptions { force: true });
            let removed = docker.remove_volume(name, options).await;
            note(removed, "volume", name, &mut pruned.volumes);
        }
        for (id, _) in &self.images {
            note(remove_image(docker, id).await, "image", id, &mut pruned.images);
        }
        for (id, _) in &self.leases {
            note(remove_container(docker, id).await, "container", id, &mut pruned.containers);
        }
        first.map(|()| Cleared { removed: pruned, miscounted })
    }
}

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

/// Removes an image that a run has made.
pub async fn remove_image(docker: &Docker, id: &str) -> Result<(), Error> {
    let options = RemoveImageOptions { force: true, ..Default::default() };
    docker.remove_image(id, Some(options), None).await.map(drop)
}

/// What became of a network.
enum Removal {
    Gone,
    /// Nothing is in it, but the engine counts otherwise. Before 28.1 it loses an update if several containers
    /// come and go at the same time, and does not notice until it restarts (moby/moby#42119).
    Miscounted,
}

/// Removes a network, and disconnects what somebody else has connected to it. `wait` for the engine, which
/// lets go of it a moment after it has removed the last container.
async fn remove_network(docker: &Docker, id: &str, wait: bool) -> Result<Removal, Error> {
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

/// Removes what is left of runs that are no more. `now` is the engine's time.
pub async fn sweep(
    docker: &Docker,
    directory: &Path,
    namespace: Option<&str>,
    own: Option<&str>,
    now: i64,
) -> Result<Cleared, DriverError> {
    let mut objects = Objects::find(docker, NAMESPACE, namespace).await?;
    let dead: HashSet<String> = objects
        .runs()
        .into_iter()
        .filter(|run| Some(*run) != own)
        .filter(|run| match lease::is_alive_here(directory, run) {
            Some(alive) => !alive,
            None => objects.until.get(*run).is_none_or(|until| *until < now),
        })
        .map(str::to_owned)
        .collect();
    objects.retain(|run| dead.contains(run));
    let cleared = objects.remove(docker, false).await?;
    for run in &dead {
        lease::forget(directory, run);
    }
    Ok(cleared)
}
