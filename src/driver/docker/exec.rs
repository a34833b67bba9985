//! A process in a container that is there already.
//!
//! The engine can start one and tell how it ended, and nothing else. So each command has an init process
//! of its own, which adopts all that the command starts, and a [script](SCRIPT) in the same container
//! ends what is below that.
//!
//! The script stops the init process first, since orphans of a command whose init process has ended could not
//! be told from background processes of other commands. It finds the init process by a switch on its command
//! line, repeated as often as the command's number says; a variable would do that too, but only the same user
//! can read it. A container in which the script does not succeed is killed as a whole, with a notice. The
//! container itself is kept by a `cat` that reads from the run: it echoes a line when it is up, and ends by
//! itself when the run is gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{EventMessage, ExecInspectResponse};
use bollard::query_parameters::{EventsOptions, KillContainerOptions};
use futures_util::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::init;
use super::monitor::Streams;
use super::output::content;
use super::process::{Process, Signal};
use crate::driver::NoticeSink;
use crate::task;

const SCRIPT: &str = include_str!("end.sh");

/// What the engine says of a command that it cannot start.
const INIT_ERRORS: [&[u8]; 3] = [b"OCI runtime ", b"unable to find ", b"cannot exec in "];

/// How long to try to end a command before its whole container has to go.
const PERSISTENCE: Duration = Duration::from_secs(10);

/// Where the kernel counts in a container, by both versions of control groups.
const OOM_KILLS: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// More than these files hold, in bytes.
const LONGEST: usize = 64 * 1024;

/// A container that is running.
#[derive(Clone)]
pub struct ExecTarget {
    pub docker: Docker,
    pub container: String,
    /// The name of the sandbox.
    pub name: String,
    /// Before the container started, in the engine's time.
    pub since: i64,
    pub notices: NoticeSink,
}

/// A process that has been asked for.
pub struct Exec {
    place: ExecTarget,
    id: String,
    mark: String,
    /// What has asked the command to end. The engine might end it, too, if nobody were connected to it.
    asking: Mutex<Option<Script>>,
}

/// A script that is running in a container, and has sent its signal unless it could not.
pub struct Script {
    id: String,
    streams: Streams,
}

impl ExecTarget {
    /// Starts a command. No other one that is running at the same time has the same number, which is
    /// more than 0.
    pub async fn start(
        &self,
        number: usize,
        command: Vec<String>,
        options: CreateExecOptions<String>,
    ) -> Result<(Exec, Streams), Error> {
        // The only argument without a meaning that everybody may read: a switch, repeated.
        let words = init::words(command, number);
        let mark = words[..3].concat();
        let (id, streams) = self.open(words, options).await?;
        Ok((Exec { place: self.clone(), id, mark, asking: Mutex::default() }, streams))
    }

    /// Asks all that runs in the container to end, and waits for that for as long as `grace`.
    pub async fn end_all(&self, grace: Duration) {
        let asked = tokio::time::timeout(PERSISTENCE, self.begin("TERM", None)).await;
        if let Ok(Ok(script)) = asked {
            _ = tokio::time::timeout(grace, self.finish(script)).await;
        }
    }

    /// Starts the script that ends processes, and waits until it has sent its signal.
    async fn begin(&self, signal: &str, mark: Option<&str>) -> Result<Script, Error> {
        let words = ["/bin/sh", "-c", SCRIPT, "end"].map(str::to_owned);
        let arguments = [Some(signal), mark].into_iter().flatten().map(str::to_owned);
        let words = words.into_iter().chain(arguments).collect();
        let (id, mut streams) = self.open(words, as_root()).await?;
        streams.output.next().await.transpose()?;
        Ok(Script { id, streams })
    }

    /// Waits for the end of the script. Returns whether it has done what it is for.
    async fn finish(&self, mut script: Script) -> Result<bool, Error> {
        while script.streams.output.next().await.transpose()?.is_some() {}
        Ok(self.code(&script.id).await? == 0)
    }

    /// How many processes of the container the system has ended so far for want of memory. The engine hears
    /// of them a moment later, and the kernel counts at once.
    pub async fn oom_kills(&self) -> Option<u64> {
        let words = ["cat"].iter().chain(&OOM_KILLS).map(|&word| word.to_owned()).collect();
        let count = async {
            let (_, mut streams) = self.open(words, as_root()).await.ok()?;
            let mut text = Vec::new();
            while let Some(frame) = streams.output.next().await {
                if let Some((task::Stream::Stdout, bytes)) = content(frame.ok()?) {
                    text.extend_from_slice(&bytes);
                }
                if text.len() > LONGEST {
                    return None;
                }
            }
            let text = String::from_utf8_lossy(&text);
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        };
        tokio::time::timeout(PERSISTENCE, count).await.ok().flatten()
    }

    async fn open(
        &self,
        words: Vec<String>,
        options: CreateExecOptions<String>,
    ) -> Result<(String, Streams), Error> {
        let options = CreateExecOptions {
            cmd: Some(words),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..options
        };
        let id = self.docker.create_exec(&self.container, options).await?.id;
        match self.docker.start_exec(&id, None::<StartExecOptions>).await? {
            StartExecResults::Attached { output, input } => Ok((id, Streams { output, input })),
            StartExecResults::Detached => Err(gone()),
        }
    }

    /// The exit code of a process whose output has ended.
    async fn code(&self, id: &str) -> Result<i64, Error> {
        if let Some(code) = code(self.docker.inspect_exec(id).await?) {
            return Ok(code);
        }
        // The engine learns of the end of the output first. What it has told before is repeated.
        let mut events = std::pin::pin!(self.events(&["exec_die", "die"], None));
        while let Some(event) = events.next().await.transpose()? {
            let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            let is_end = event.action.as_deref() == Some("die");
            if is_end || attributes.get("execID").is_some_and(|ended| ended == id) {
                break;
            }
        }
        code(self.docker.inspect_exec(id).await?).ok_or_else(gone)
    }

    /// What the engine tells of the container, from its start until the given time or for ever.
    pub fn events(
        &self,
        actions: &[&str],
        until: Option<i64>,
    ) -> impl Stream<Item = Result<EventMessage, Error>> {
        let filters = HashMap::from([
            ("container".to_owned(), vec![self.container.clone()]),
            ("event".to_owned(), actions.iter().map(|&action| action.to_owned()).collect()),
        ]);
        self.docker.events(Some(EventsOptions {
            since: Some(self.since.to_string()),
            until: until.map(|at| at.to_string()),
            filters: Some(filters),
        }))
    }
}

/// Whoever runs the command, and whatever its variables are.
fn as_root() -> CreateExecOptions<String> {
    CreateExecOptions {
        user: Some("0".to_owned()),
        env: Some(vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned()]),
        working_dir: Some("/".to_owned()),
        ..Default::default()
    }
}

fn code(found: ExecInspectResponse) -> Option<i64> {
    found.exit_code.filter(|_| found.running != Some(true))
}

fn gone() -> Error {
    std::io::Error::other("the engine knows nothing of it any more").into()
}

#[async_trait]
impl Process for Exec {
    async fn code(&self, drained: &CancellationToken) -> Result<i64, Error> {
        drained.cancelled().await;
        self.place.code(&self.id).await
    }

    async fn signal(&self, signal: Signal) {
        let ExecTarget { docker, container, name, notices, .. } = &self.place;
        match signal {
            Signal::Term => {
                // If it cannot be asked, the other signal follows all the same.
                let script = self.place.begin("TERM", Some(&self.mark)).await.ok();
                *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = script;
            }
            Signal::Kill => {
                let end = async {
                    let script = self.place.begin("KILL", Some(&self.mark)).await?;
                    self.place.finish(script).await
                };
                let ended = tokio::time::timeout(PERSISTENCE, end).await;
                if !matches!(ended, Ok(Ok(true))) {
                    notices(format!(
                        "a command of sandbox `{name}` could not be ended alone, so all of the \
                         sandbox was ended"
                    ));
                    let options = KillContainerOptions { signal: "SIGKILL".into() };
                    _ = docker.kill_container(container, Some(options)).await;
                }
            }
        }
    }

    fn reports(&self) -> bool {
        true
    }

    async fn failed_with(&self, output: &[u8]) -> bool {
        // The engine begins and ends what it says in this way, and has no process then.
        INIT_ERRORS.iter().any(|start| output.starts_with(start)) && output.ends_with(b"\r\n") && {
            let found = self.place.docker.inspect_exec(&self.id).await;
            // One that is about to start has no number yet either.
            found.is_ok_and(|found| {
                found.running == Some(false) && found.pid.unwrap_or_default() == 0
            })
        }
    }
}
