//! Removes what a run has made: at its end, and by others when it was killed.
//!
//! What proves that something belongs to a run, and may be removed:
//!
//! | kind | proof |
//! |---|---|
//! | containers, with their anonymous volumes | all labels of a run, and a name that begins with `ci-RUN-` |
//! | volumes | the same |
//! | networks | all labels of a run, and the name `ci-RUN`. Guests are disconnected, not removed |
//! | images | all labels of a run, `ci.image=shell`, the comment that the copy was made with, and no name |
//! | files beside leases | in our own directory, unlocked, and of this boot, engine and namespace |
//!
//! Whether the run is dead is another question, which [`lease`] answers.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
    RemoveVolumeOptions,
};

use super::engine::{Engine, patient};
use super::failure::{failed, is_missing};
use super::labels::{
    self, IMAGE, Labels, NAMESPACE, RUN, SHELL_IMAGE, is_marked, is_of_run, network_name,
};
use super::lease::{self, Expiry};
use super::lock_file;
use super::removal::{Removal, is_copy, remove_container, remove_image, remove_network};
use crate::driver::{DriverError, Pruned};

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
    containers: Vec<Object>,
    volumes: Vec<Object>,
    networks: Vec<Object>,
    images: Vec<Object>,
    leases: Vec<Object>,
    runs: HashMap<String, Trace>,
}

/// Something that the engine keeps for a run.
#[derive(Debug)]
struct Object {
    /// The engine's name of it.
    id: String,
    run: String,
}

/// What the engine shows of a run.
#[derive(Debug, Default)]
struct Trace {
    /// Those of one of its objects.
    labels: Labels,
    /// When its lease expires, in the engine's time.
    until: Option<i64>,
    /// When the [substitute](lease::substitute) for a missing lease expires.
    substitute: Option<i64>,
}

impl Objects {
    /// All that has a label, with this value if there is one, and is proven to be a run's.
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
        for volume in volumes.volumes.into_iter().flatten() {
            let name = volume.name;
            if let Some(run) = found.prove(volume.labels, |run| is_of_run(&name, run)) {
                found.volumes.push(Object { id: name, run });
            }
        }
        let networks = ListNetworksOptions { filters: filters.clone() };
        let networks = docker.list_networks(Some(networks)).await;
        for network in networks.map_err(|error| failed(context("networks"), error))? {
            let (Some(id), Some(name)) = (network.id, network.name) else { continue };
            let labels = network.labels.unwrap_or_default();
            if let Some(run) = found.prove(labels, |run| name == network_name(run)) {
                found.networks.push(Object { id, run });
            }
        }
        // What users make of a container has its labels, too, but not this one.
        let mut marked = labels::filter(label, value);
        marked.entry("label".to_owned()).or_default().push(format!("{IMAGE}={SHELL_IMAGE}"));
        let images = ListImagesOptions { filters: Some(marked), ..Default::default() };
        let images = docker.list_images(Some(images)).await;
        for image in images.map_err(|error| failed(context("images"), error))? {
            // What users build from it has this label as well.
            let (labels, id) = (image.labels, image.id);
            if !labels.get(RUN).is_some_and(|_| is_marked(&labels)) || !is_copy(docker, &id).await?
            {
                continue;
            }
            if let Some(run) = found.prove(labels, |_| true) {
                found.images.push(Object { id, run });
            }
        }
        let containers = ListContainersOptions { all: true, filters, ..Default::default() };
        let containers = docker.list_containers(Some(containers)).await;
        for container in containers.map_err(|error| failed(context("containers"), error))? {
            let Some(id) = container.id else { continue };
            let names = container.names.unwrap_or_default();
            let labels = container.labels.unwrap_or_default();
            // Those that users make from a copy of a task's container have its labels.
            let Some(run) =
                found.prove(labels, |run| names.iter().any(|name| is_of_run(name, run)))
            else {
                continue;
            };
            let expiry = names.iter().find_map(|name| Expiry::of(name, &run));
            let trace = found.runs.entry(run.clone()).or_default();
            match expiry {
                Some(Expiry::Own(until)) => trace.until = trace.until.max(Some(until)),
                Some(Expiry::Substitute(until)) => {
                    trace.substitute = trace.substitute.max(Some(until));
                }
                None => {
                    found.containers.push(Object { id, run });
                    continue;
                }
            }
            found.leases.push(Object { id, run });
        }
        Ok(found)
    }

    /// The run that an object belongs to by its labels, if its name is one that the run gave it.
    fn prove(&mut self, labels: Labels, has_name: impl Fn(&str) -> bool) -> Option<String> {
        let run = labels.get(RUN).filter(|run| !run.is_empty() && is_marked(&labels))?.clone();
        if !has_name(&run) {
            return None;
        }
        self.runs.entry(run.clone()).or_insert_with(|| Trace { labels, ..Trace::default() });
        Some(run)
    }

    /// Takes the leases out.
    pub fn take_leases(&mut self) -> Self {
        Self { leases: std::mem::take(&mut self.leases), ..Self::default() }
    }

    /// Whether there is nothing but leases.
    fn is_spent(&self) -> bool {
        let Self { containers, volumes, networks, images, .. } = self;
        [containers, volumes, networks, images].into_iter().all(Vec::is_empty)
    }

    /// Keeps the objects of these runs.
    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let Self { containers, volumes, networks, images, leases, .. } = self;
        for objects in [containers, volumes, networks, images, leases] {
            objects.retain(|object| keep(&object.run));
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
        // Of these, something is left.
        let mut unfinished = HashSet::new();
        let mut note = |removed: Result<(), Error>, what: &str, object: &Object| match removed {
            Ok(()) => 1,
            // Somebody else removes it, or has done so.
            Err(error) if is_missing(&error) => 0,
            Err(error) => {
                unfinished.insert(object.run.clone());
                if first.is_ok() {
                    first = Err(failed(format!("cannot remove {what} `{}`", object.id), error));
                }
                0
            }
        };
        for container in &self.containers {
            let removed = remove_container(docker, &container.id).await;
            pruned.containers += note(removed, "container", container);
        }
        for network in &self.networks {
            let is_of_run = |container: &Object| container.run == network.run;
            let wait = just_ended || self.containers.iter().any(is_of_run);
            let removed = match remove_network(docker, &network.id, wait).await {
                Ok(Removal::Miscounted) => {
                    miscounted.push(&network.run);
                    continue;
                }
                removed => removed.map(drop),
            };
            pruned.networks += note(removed, "network", network);
        }
        for volume in &self.volumes {
            let options = Some(RemoveVolumeOptions { force: true });
            let removed = docker.remove_volume(&volume.id, options).await;
            pruned.volumes += note(removed, "volume", volume);
        }
        for image in &self.images {
            pruned.images += note(remove_image(docker, &image.id).await, "image", image);
        }
        unfinished.extend(miscounted.iter().map(|run| (*run).clone()));
        for lease in &self.leases {
            // An expired lease says of what is left that its run is dead.
            if unfinished.contains(&lease.run) {
                continue;
            }
            match remove_container(docker, &lease.id).await {
                Ok(()) => pruned.containers += 1,
                Err(error) if is_missing(&error) => {}
                Err(error) if first.is_ok() => {
                    first = Err(failed(format!("cannot remove container `{}`", lease.id), error));
                }
                Err(_) => {}
            }
        }
        let miscounted = miscounted.into_iter().map(|run| network_name(run)).collect();
        first.map(|()| Cleared { removed: pruned, miscounted })
    }
}

/// Removes what is left of runs that are dead. `own` is the run that asks.
pub async fn sweep(
    engine: &Engine,
    directory: &Path,
    namespace: Option<&str>,
    own: Option<&str>,
) -> Result<Cleared, DriverError> {
    let Engine { docker, clock, host, .. } = engine;
    let mut objects = Objects::find(docker, NAMESPACE, namespace).await?;
    let (mut dead, mut unsure) = (HashSet::new(), Vec::new());
    for (run, trace) in &objects.runs {
        if Some(run.as_str()) == own {
            continue;
        }
        let here = lock_file::is_alive_here(directory, run);
        match Life::of(here, trace.until, trace.substitute, clock.now()) {
            Life::Alive => {}
            Life::Dead => _ = dead.insert(run.clone()),
            Life::Unknown => unsure.push((run, &trace.labels)),
        }
    }
    let mut waiting = 0;
    for (run, labels) in unsure {
        waiting += usize::from(put_on_probation(docker, run, labels, clock.now()).await?);
    }
    objects.retain(|run| dead.contains(run));
    let mut cleared = objects.remove(docker, false).await?;
    cleared.removed.waiting = waiting;
    for run in &dead {
        lock_file::forget(directory, run);
    }
    let found = &objects.runs;
    lock_file::tidy(directory, host, namespace, |run| found.contains_key(run));
    Ok(cleared)
}

/// Gives a run without a lease the time in which it makes a new one if it is alive. `false` if it has ended
/// meanwhile.
async fn put_on_probation(
    docker: &Docker,
    run: &str,
    labels: &Labels,
    now: i64,
) -> Result<bool, DriverError> {
    let made = lease::substitute(docker, run, labels, now).await;
    made.map_err(|error| failed("cannot make a substitute for the missing lease of a run", error))?;
    // A run that ended just now has removed everything but the substitute.
    let mut left = Objects::find(docker, RUN, Some(run)).await?;
    let is_over = left.is_spent() && left.runs.get(run).is_some_and(|trace| trace.until.is_none());
    if is_over {
        left.take_leases().remove(docker, false).await?;
    }
    Ok(!is_over)
}

/// What is known of whether a run is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
    /// Nobody has seen a lease of it for long enough.
    Unknown,
}

impl Life {
    /// `here` is what the machine of the run knows, the other times are those of the engine.
    fn of(here: Option<bool>, until: Option<i64>, substitute: Option<i64>, now: i64) -> Self {
        match (here, until.or(substitute)) {
            (Some(true), _) => Self::Alive,
            (Some(false), _) => Self::Dead,
            (None, Some(until)) if until < now => Self::Dead,
            (None, Some(_)) => Self::Alive,
            (None, None) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proof_makes_a_run_a_dead_one() {
        use Life::{Alive, Dead, Unknown};
        for (here, until, substitute, expected) in [
            (Some(true), Some(0), None, Alive),
            (Some(true), None, Some(0), Alive),
            (Some(false), Some(200), None, Dead),
            (Some(false), None, None, Dead),
            (None, Some(99), None, Dead),
            (None, Some(100), None, Alive),
            (None, None, None, Unknown),
            (None, None, Some(99), Dead),
            (None, None, Some(100), Alive),
            // A lease that has come back counts, whatever became of its substitute.
            (None, Some(200), Some(50), Alive),
            (None, Some(50), Some(200), Dead),
        ] {
            assert_eq!(
                Life::of(here, until, substitute, 100),
                expected,
                "{until:?} {substitute:?}"
            );
        }
    }
}
