//! Images: which one a name means, and how it gets to the engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::config::Pull;
use super::credentials::credentials;
use super::failure::{failed, is_missing, printable, words};
use crate::driver::{DriverError, NoticeSink, TaskUpdate, UpdateSink};

/// How often a long pull says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What registries say to who has to log in.
const DENIED: &[&str] = &["no basic auth credentials", "unauthorized", "denied", "authentication"];

/// What registries say of images that they do not have, or not for the engine's machine.
const UNKNOWN: &[&str] =
    &["manifest unknown", "not found", "name unknown", "no matching manifest", "does not exist"];

/// What engines say of registries that they do not reach, or that do not answer as they should.
const UNREACHABLE: &[&str] = &[
    "dial tcp",
    "no such host",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "deadline exceeded",
    "timeout",
    "timed out",
    "unreachable",
    "proxyconnect",
    "TLS handshake",
    "tls:",
    "x509:",
    "server gave HTTP response to HTTPS client",
    "malformed HTTP",
    "EOF",
    "unexpected HTTP status",
    "received unexpected HTTP",
    "error parsing HTTP",
    "toomanyrequests",
    "too many requests",
    "Service Unavailable",
    "Bad Gateway",
    "Internal Server Error",
];

/// The images of a run. Each one is looked for, and pulled, once.
pub struct Images {
    docker: Docker,
    pull: Pull,
    notices: NoticeSink,
    /// How long a pull may take.
    limit: Duration,
    known: Mutex<HashMap<String, Arc<Known>>>,
}

/// An image that somebody has asked for.
struct Known {
    /// An error counts for all who have waited for the same pull.
    image: OnceCell<Result<Image, DriverError>>,
    /// Until when it has to be there, whoever waits for it.
    deadline: Deadline,
    /// How far its pull is.
    pull: watch::Sender<Option<f64>>,
}

/// An image that the engine has.
#[derive(Clone, Debug)]
pub struct Image {
    /// The user of its commands, if that is not root.
    pub user: Option<String>,
    /// What it runs itself: its entrypoint and the arguments of that.
    pub command: Vec<String>,
}

impl Images {
    pub fn new(docker: Docker, pull: Pull, limit: Duration, notices: NoticeSink) -> Self {
        Self { docker, pull, notices, limit, known: Mutex::default() }
    }

    /// Makes sure that the engine has an image. However many ask for it, it is pulled once, and each of them
    /// is told how far that is.
    pub async fn ensure(
        &self,
        name: &str,
        updates: Option<&UpdateSink>,
    ) -> Result<Image, DriverError> {
        let reference = Reference::new(name)?;
        let known = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(reference.full.clone()).or_insert_with(|| self.asked()).clone()
        };
        let mut pull = known.pull.subscribe();
        let tell = async {
            let Some(updates) = updates else { return std::future::pending().await };
            loop {
                if let Some(done) = *pull.borrow_and_update() {
                    let what = format!("pulling image `{}`", reference.full);
                    // Whoever does not listen is told of the next step.
                    _ = updates.try_send(TaskUpdate::Preparing { what, done: Some(done) });
                }
                if pull.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        tokio::select! {
            biased;
            found = known.image.get_or_init(|| self.find(&reference, &known)) => match found {
                Ok(image) => Ok(image.clone()),
                Err(error) => {
                    self.forget_failed(&reference, &known);
                    Err(again(error))
                }
            },
            () = tell => unreachable!("it goes on for ever"),
        }
    }

    fn asked(&self) -> Arc<Known> {
        let (image, pull) = Default::default();
        Arc::new(Known { image, deadline: Deadline::now() + self.limit, pull })
    }

    /// Whoever asks from now on tries again.
    fn forget_failed(&self, reference: &Reference, failed: &Arc<Known>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&reference.full).is_some_and(|known| Arc::ptr_eq(known, failed)) {
            known.remove(&reference.full);
        }
    }

    /// Looks for an image again that somebody has removed.
    pub fn forget(&self, name: &str) {
        if let Ok(reference) = Reference::new(name) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.remove(&reference.full);
        }
    }

    async fn find(
        &self,
        reference: &Reference,
        Known { deadline, pull, .. }: &Known,
    ) -> Result<Image, DriverError> {
        let full = &reference.full;
        if self.pull != Pull::Always {
            match self.docker.inspect_image(&reference.given).await {
                Ok(found) => return Ok(Image::new(found)),
                Err(error) if is_missing(&error) => {}
                Err(error) if error.to_string().contains("invalid reference") => {
                    let text = words(error);
                    return Err(DriverError::Refused(format!(
                        "`{full}` is no image, check its name: {text}"
                    )));
                }
                Err(error) => return Err(failed(format!("cannot look for image `{full}`"), error)),
            }
        }
        if self.pull == Pull::Never {
            return Err(DriverError::Refused(format!(
                "the engine has no image `{full}`, and `pull=never` keeps it from being pulled"
            )));
        }
        let fetched = timeout_at(*deadline, self.fetch(reference, pull)).await;
        pull.send_replace(None);
        fetched.unwrap_or_else(|_| {
            let limit = humantime::format_duration(self.limit);
            Err(DriverError::Io {
                context: format!("cannot pull image `{full}`"),
                source: std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!("it has taken longer than {limit}, allow more with `pull_timeout`"),
                ),
            })
        })?;
        let found = self.docker.inspect_image(&reference.given).await;
        found.map(Image::new).map_err(|error| failed(format!("cannot use image `{full}`"), error))
    }

    async fn fetch(
        &self,
        reference: &Reference,
        pull: &watch::Sender<Option<f64>>,
    ) -> Result<(), DriverError> {
        let full = &reference.full;
        let context = || format!("cannot pull image `{full}`");
        let login = match reference.registry.as_str() {
            DOCKER_HUB => "docker login".to_owned(),
            registry => format!("docker login {registry}"),
        };
        let credentials = credentials(&reference.registry).await.map_err(|reason| {
            DriverError::Refused(format!(
                "{}: the credentials for `{}` cannot be read, log in again with `{login}`: {reason}",
                context(),
                reference.registry
            ))
        })?;
        let (started, mut told) = (Instant::now(), Instant::now());
        (self.notices)(format!("pulling image `{full}`"));
        let options = CreateImageOptions { from_image: Some(full.clone()), ..Default::default() };
        let mut steps = std::pin::pin!(self.docker.create_image(Some(options), None, credentials));
        let mut layers = Layers::default();
        pull.send_replace(Some(0.0));
        loop {
            match timeout(PROGRESS, steps.next()).await {
                Ok(Some(step)) => {
                    layers.take(&step.map_err(|error| refused(reference, &login, error))?);
                    pull.send_if_modified(|done| layers.has_moved(done));
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let elapsed =
                    humantime::format_duration(Duration::from_secs(started.elapsed().as_secs()));
                (self.notices)(format!("pulling image `{full}`: {layers} after {elapsed}"));
            }
        }
        (self.notices)(format!(
            "pulled image `{full}` in {:.1} s, {}",
            started.elapsed().as_secs_f32(),
            bytesize::ByteSize(layers.total()).display().si()
        ));
        Ok(())
    }
}

/// The same error, for one more of those who wait.
fn again(error: &DriverError) -> DriverError {
    match error {
        DriverError::Unavailable { driver, reason } => {
            DriverError::Unavailable { driver, reason: reason.clone() }
        }
        DriverError::Refused(reason) => DriverError::Refused(reason.clone()),
        DriverError::CannotStart { command, reason } => {
            DriverError::CannotStart { command: command.clone(), reason: reason.clone() }
        }
        DriverError::Io { context, source } => DriverError::Io {
            context: context.clone(),
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
    }
}

/// Why an image was not pulled: it cannot be named like that, the registry does not have it or does not
/// give it away, or nobody gets to the registry at the moment.
fn refused(reference: &Reference, login: &str, error: Error) -> DriverError {
    let context = format!("cannot pull image `{}`", reference.full);
    let (status, text) = match &error {
        Error::DockerResponseServerError { status_code, message } => {
            (*status_code, message.clone())
        }
        Error::DockerStreamError { error } => (0, error.clone()),
        // That was the engine's own connection.
        _ => return failed(context, error),
    };
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let text_shown = printable(&text);
    match () {
        () if status == 400 || has(&["invalid reference"]) => {
            DriverError::Refused(format!("{context}, check its name: {text_shown}"))
        }
        () if has(DENIED) => DriverError::Refused(format!(
            "{context}, check its name or log in with `{login}`: {text_shown}"
        )),
        () if status != 404 && has(UNREACHABLE) => DriverError::Unavailable {
            driver: "docker",
            reason: format!(
                "{context}, the engine does not get an answer from the registry `{}`, check the network \
                 between them or try again later: {text_shown}",
                reference.registry
            ),
        },
        () if status == 404 || has(UNKNOWN) => DriverError::Refused(format!(
            "{context}, the registry does not have it, check its name and tag: {text_shown}"
        )),
        () => failed(format!("{context}, check its name and the way to its registry"), error),
    }
}

impl Image {
    fn new(found: ImageInspect) -> Self {
        let config = found.config.unwrap_or_default();
        let is_root = |user: &str| matches!(user.split(':').next(), Some("" | "root" | "0"));
        let command = [config.entrypoint, config.cmd].into_iter().flatten().flatten().collect();
        Self { user: config.user.filter(|user| !is_root(user)), command }
    }
}

/// How far the layers of an image have come.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    fn take(&mut self, step: &CreateImageInfo) {
        // What is said of unpacking counts the same bytes once more.
        if step.status.as_deref() != Some("Downloading") {
            return;
        }
        let (Some(id), Some(detail)) = (&step.id, &step.progress_detail) else { return };
        let bytes = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
        self.0.insert(id.clone(), (bytes(detail.current), bytes(detail.total)));
    }

    /// Sets the part that is there, if it has grown by a hundredth or more.
    fn has_moved(&self, done: &mut Option<f64>) -> bool {
        let current: u64 = self.0.values().map(|(current, _)| current).sum();
        let now = current as f64 / self.total().max(1) as f64;
        let has_moved = done.is_none_or(|before| (now - before).abs() >= 0.01);
        if has_moved {
            *done = Some(now);
        }
        has_moved
    }

    fn total(&self) -> u64 {
        self.0.values().map(|(_, total)| total).sum()
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let current: u64 = self.0.values().map(|(current, _)| current).sum();
        let shown = |bytes| bytesize::ByteSize(bytes).display().si();
        write!(f, "{} of {}", shown(current), shown(self.total()))
    }
}

/// A name of an image, with the tag that it means.
#[derive(Debug, PartialEq)]
struct Reference {
    /// The engine takes it as a name, or else as the beginning of an id.
    given: String,
    full: String,
    /// As credentials are filed under it.
    registry: String,
}

/// How docker files credentials for its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What else it is called.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

impl Reference {
    fn new(name: &str) -> Result<Self, DriverError> {
        let refused = |reason: &str| {
            let example = "name one such as `busybox`, `node:20` or `ghcr.io/owner/name@sha256:…`";
            Err(DriverError::Refused(format!("`{name}` is no image: {reason}, {example}")))
        };
        if name.is_empty() {
            return refused("the `docker` driver runs each task in an image");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
        if !name.chars().all(plain) {
            return refused("a character of it cannot be part of a name");
        }
        let (first, rest) = name.split_once('/').unwrap_or(("", name));
        let is_registry = first.contains(['.', ':']) || first == "localhost";
        let is_hub = !is_registry || DOCKER_HUB_HOSTS.contains(&first);
        let registry = if is_hub { DOCKER_HUB } else { first };
        if rest.is_empty() {
            return refused("it has no name after the registry");
        }
        let last = rest.rsplit('/').next().unwrap_or(rest);
        // Without a tag the engine would pull all of them. An id needs none.
        let is_id = name.len() == 64 + 7 && name.starts_with("sha256:");
        let tagged = last.contains([':', '@']) || is_id;
        let full = if tagged { name.to_owned() } else { format!("{name}:latest") };
        Ok(Self { given: name.to_owned(), full, registry: registry.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_one_image() {
        let table = [
            ("busybox", "busybox:latest", DOCKER_HUB),
            ("node:20", "node:20", DOCKER_HUB),
            ("owner/name", "owner/name:latest", DOCKER_HUB),
            ("docker.io/owner/name", "docker.io/owner/name:latest", DOCKER_HUB),
            ("registry-1.docker.io/name:1", "registry-1.docker.io/name:1", DOCKER_HUB),
            ("localhost/name", "localhost/name:latest", "localhost"),
            ("localhost:5000/name", "localhost:5000/name:latest", "localhost:5000"),
            ("ghcr.io/owner/name:1", "ghcr.io/owner/name:1", "ghcr.io"),
            ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00", "ghcr.io"),
        ];
        for (name, full, registry) in table {
            let (given, full, registry) = (name.into(), full.into(), registry.into());
            let expected = Reference { given, full, registry };
            assert_eq!(Reference::new(name).unwrap(), expected);
        }
        for name in ["", "a b", "ghcr.io/", "a\n"] {
            assert!(Reference::new(name).is_err(), "{name}");
        }
    }
}
