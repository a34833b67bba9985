//! Runs tasks on any driver, and waits for what comes of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ci::driver::{Driver, DriverError, KeptTask, TaskEnd, TaskUpdate, UpdateSink, Volume};
use ci::task::{Command, ContainerSpec, ExecSpec, Mount, Stream, TaskExit, TaskId, TaskSpec};
use ci::volume::VolumeName;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for any machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub fn task(name: &str, path: &str, args: &[&str]) -> TaskSpec {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    TaskSpec {
        id: TaskId(NEXT.fetch_add(1, Ordering::Relaxed)),
        name: name.into(),
        container: ContainerSpec { image: "debian:12".into(), ..ContainerSpec::default() },
        exec: ExecSpec {
            command: Command {
                path: path.into(),
                args: args.iter().map(|arg| (*arg).into()).collect(),
                user: None,
            },
            env: Vec::new(),
            secret_env: Vec::new(),
            work_dir: None,
            stdin: None,
        },
        keep: false,
    }
}

/// The task with something changed.
pub fn edit(mut spec: TaskSpec, change: impl FnOnce(&mut TaskSpec)) -> TaskSpec {
    change(&mut spec);
    spec
}

pub fn sh(script: &str) -> TaskSpec {
    task("test", "sh", &["-c", script])
}

pub fn mounted(mut spec: TaskSpec, mounts: &[(&Volume, &str)]) -> TaskSpec {
    spec.container.mounts = mounts
        .iter()
        .map(|(volume, path)| Mount {
            volume: volume.name.clone(),
            path: path.into(),
            read_only: false,
        })
        .collect();
    spec
}

pub async fn volume(driver: &dyn Driver, name: &str) -> Volume {
    driver.create_volume(&VolumeName::new(name).unwrap(), None).await.unwrap()
}

/// A task that ended, with all that it wrote.
#[derive(Debug)]
pub struct Finished {
    pub exit: TaskExit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

pub async fn finish(driver: &dyn Driver, spec: &TaskSpec) -> Result<Finished, DriverError> {
    let (sink, chunks) = updates(4);
    collect(driver.run(spec, sink, CancellationToken::new()), chunks).await
}

/// The same for a task that is to be kept.
pub async fn finish_kept(
    driver: &dyn Driver,
    spec: &TaskSpec,
) -> (Result<Finished, DriverError>, Option<Box<dyn KeptTask>>) {
    let (sink, chunks) = updates(4);
    collect_kept(driver.run(spec, sink, CancellationToken::new()), chunks).await
}

/// Where a task hands over what it writes, and the other side of that.
pub fn updates(capacity: usize) -> (UpdateSink, Chunks) {
    let (sink, updates) = mpsc::channel(capacity);
    (sink, Chunks(updates))
}

/// What a task writes.
pub struct Chunks(mpsc::Receiver<TaskUpdate>);

impl Chunks {
    pub async fn recv(&mut self) -> Option<(Stream, Vec<u8>)> {
        loop {
            if let TaskUpdate::Output(stream, bytes) = self.0.recv().await? {
                return Some((stream, bytes));
            }
        }
    }

    fn try_recv(&mut self) -> Option<(Stream, Vec<u8>)> {
        loop {
            if let TaskUpdate::Output(stream, bytes) = self.0.try_recv().ok()? {
                return Some((stream, bytes));
            }
        }
    }
}

/// How a task ended, whatever is kept of it.
pub async fn exit(run: impl Future<Output = TaskEnd>) -> Result<TaskExit, DriverError> {
    run.await.exit
}

/// Waits for the end of a task that hands over what it writes to the other side of `chunks`.
pub async fn collect(
    run: impl Future<Output = TaskEnd>,
    chunks: Chunks,
) -> Result<Finished, DriverError> {
    collect_kept(run, chunks).await.0
}

/// The same, with what is kept of the task.
pub async fn collect_kept(
    run: impl Future<Output = TaskEnd>,
    mut chunks: Chunks,
) -> (Result<Finished, DriverError>, Option<Box<dyn KeptTask>>) {
    let mut finished =
        Finished { exit: TaskExit::Cancelled, stdout: Vec::new(), stderr: Vec::new() };
    tokio::pin!(run);
    let TaskEnd { exit, kept } = loop {
        tokio::select! {
            biased;
            Some((stream, bytes)) = chunks.recv() => add(&mut finished, stream, bytes),
            end = &mut run => break end,
        }
    };
    while let Some((stream, bytes)) = chunks.try_recv() {
        add(&mut finished, stream, bytes);
    }
    let finished = exit.map(|exit| {
        finished.exit = exit;
        finished
    });
    (finished, kept)
}

fn add(finished: &mut Finished, stream: Stream, bytes: Vec<u8>) {
    assert!(!bytes.is_empty(), "an empty chunk was handed over");
    match stream {
        Stream::Stdout => finished.stdout.extend(bytes),
        Stream::Stderr => finished.stderr.extend(bytes),
    }
}

/// Runs a task that must succeed, and returns what it wrote to stdout.
pub async fn succeed(driver: &dyn Driver, spec: &TaskSpec) -> String {
    let finished = timeout(PATIENCE, finish(driver, spec)).await.unwrap().unwrap();
    assert_eq!(finished.exit, TaskExit::Code(0), "{spec:?}: {finished:?}");
    String::from_utf8(finished.stdout).unwrap()
}

/// Starts a task, and cancels it when it has written `ready`.
pub async fn cancel_when_ready(driver: &dyn Driver, spec: &TaskSpec) -> (TaskExit, String) {
    let (sink, mut chunks) = updates(4);
    let cancel = CancellationToken::new();
    let listen = async {
        let mut text = String::new();
        while let Some((_, bytes)) = chunks.recv().await {
            text.push_str(&String::from_utf8(bytes).unwrap());
            if text.contains("ready") {
                cancel.cancel();
            }
        }
        text
    };
    let both = async { tokio::join!(exit(driver.run(spec, sink, cancel.clone())), listen) };
    let (exit, text) = timeout(PATIENCE, both).await.unwrap();
    (exit.unwrap(), text)
}

/// Takes a lock that every process started afterwards inherits.
pub const TAKE_LOCK: &str = "exec 9>v/lock; flock 9;";

/// A task that succeeds if no process holds the lock any more.
pub fn lock_is_free(volume: &Volume) -> TaskSpec {
    mounted(task("probe", "flock", &["-n", "v/lock", "true"]), &[(volume, "v")])
}
