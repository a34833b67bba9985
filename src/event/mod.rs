//! Everything that a run reports, as data.
//!
//! Whatever happens is sent to an [`EventSink`], which stamps it. One task hands each event to all
//! [reports](crate::report) of the run.
//!
//! The shape of the JSON is the public interface of `--output json` and `--events`, described in
//! `docs/events.md` and versioned by [`VERSION`].

mod dispatch;
mod masked;
mod sink;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use diagnostic::Diagnostic;
use serde::{Deserialize, Serialize};

pub use dispatch::{Delivery, Log, dispatch};
pub use sink::{EventSink, Message, Pause};

use crate::task::Stream;

/// The `v` of every JSON event. It grows when a field changes its meaning or goes away, not when
/// one is added.
pub const VERSION: u32 = 2;

/// One event of a run, as every report gets it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the log: counted from 1, without gaps.
    pub seq: u64,
    /// When it happened, by the machine's clock.
    pub at: SystemTime,
    /// When it happened, counted from the start of the run by a clock that nobody sets.
    pub elapsed: Duration,
    pub kind: RunEvent,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// Always the first event.
    RunStarted(Box<RunStart>),
    VolumeCreated {
        volume: String,
        path: String,
    },
    /// Files of the project are a volume.
    SourceImported {
        volume: String,
        /// Regular files and links.
        files: u64,
        /// Of their content.
        bytes: u64,
        duration_ms: u64,
    },
    /// Files of a volume are where the user finds them.
    ArtifactPublished {
        name: String,
        path: String,
        /// Regular files.
        files: u64,
        /// Of their content.
        bytes: u64,
    },
    /// The archive of a volume was found and is being unpacked.
    CacheRestoring {
        volume: String,
        key: String,
        /// Of the archive.
        bytes: u64,
    },
    /// The cache has nothing for a volume.
    CacheMiss {
        volume: String,
        /// The volume's own key; fallbacks have nothing either.
        key: String,
        reason: String,
    },
    /// A volume has changed and is being packed and uploaded.
    CachePersisting {
        volume: String,
        key: String,
    },
    /// How far the restore or the persist of a volume is.
    CacheProgress {
        volume: String,
        operation: CacheOperation,
        /// Of the archive, moved so far.
        bytes: u64,
    },
    /// A restore or a persist of a volume has ended, in whatever way.
    CacheFinished(CacheReport),
    /// A job of a pipeline in YAML has started.
    JobStarted {
        job: String,
    },
    JobFinished {
        job: String,
        status: TaskStatus,
        /// Why it did not succeed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<String>,
    },
    /// A job was not started.
    JobSkipped {
        job: String,
        reason: String,
    },
    /// A step of a job has started that is not made of other steps.
    StepStarted {
        job: String,
        /// Unique in the run.
        step: u64,
        /// The key of the step, such as `get`.
        action: String,
        name: String,
        /// Which attempt this is, counted from 1.
        attempt: u64,
    },
    StepFinished {
        job: String,
        step: u64,
        status: TaskStatus,
    },
    /// A task was asked for. It has not started yet.
    TaskQueued {
        id: u64,
        task: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        image: String,
        command: Vec<String>,
        /// The step of a pipeline in YAML that the task belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<u64>,
    },
    /// Something takes its time before the command of a task can start.
    TaskPreparing {
        id: u64,
        task: String,
        /// Such as "pulling image `node:22`".
        what: String,
        /// How much of that is done, from 0 to 1, if that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        done: Option<f64>,
    },
    /// A task ended before its command started: it was cancelled, or the run had to end.
    TaskSkipped {
        id: u64,
        task: String,
        reason: String,
    },
    /// The command of a task runs. Its timeout and its duration count from here.
    TaskStarted {
        id: u64,
        task: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        image: String,
        command: Vec<String>,
    },
    TaskOutput {
        id: u64,
        task: String,
        stream: Stream,
        /// Never split within a character; bytes that are not UTF-8 became U+FFFD.
        text: Arc<String>,
    },
    TaskFinished {
        id: u64,
        task: String,
        status: TaskStatus,
        /// Absent when the command could not be started.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The name of the signal that ended the command, such as `SIGKILL`.
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<&'static str>,
        duration_ms: u64,
        /// Why, when there is more to say than the code.
        #[serde(skip_serializing_if = "String::is_empty")]
        message: String,
        /// Whether it did not succeed and is tried again.
        #[serde(skip_serializing_if = "is_false")]
        retried: bool,
    },
    SandboxOpened {
        /// What the driver knows it by.
        sandbox: String,
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        image: String,
    },
    SandboxClosed {
        sandbox: String,
        name: String,
    },
    /// What the pipeline itself wrote with `console`.
    Console {
        stream: Stream,
        /// Whole lines.
        text: String,
    },
    /// Something that the user should know and that changes no result.
    Notice {
        message: String,
    },
    /// Something went wrong that the run goes on without.
    Warning {
        message: String,
    },
    /// Always the last event.
    RunFinished {
        status: RunStatus,
        exit_code: u8,
        duration_ms: u64,
        /// The error that ended the run, as also printed on the error output.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The same as data.
        #[serde(skip_serializing_if = "Option::is_none")]
        diagnostic: Option<Box<Diagnostic>>,
    },
}

/// What a run is, as its first event tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStart {
    pub run: String,
    pub pipeline: String,
    /// As given on the command line.
    pub file: String,
    pub driver: String,
    pub version: &'static str,
    /// The name of the machine that this program runs on.
    pub host: String,
    /// The command line without the program's name and without secrets.
    pub args: Vec<String>,
    /// The directory of the project that the pipeline's file belongs to.
    pub project: String,
    /// The commit that is checked out there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What the cache did for a volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheReport {
    pub volume: String,
    pub operation: CacheOperation,
    pub outcome: CacheOutcome,
    /// Where the archive is, or would be.
    pub key: String,
    /// Of the archive, as far as it was transferred.
    pub bytes: u64,
    /// Of the files in it.
    pub content_bytes: u64,
    pub duration_ms: u64,
    /// Why, when the outcome alone does not say it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheOperation {
    /// From the cache into the volume.
    Restore,
    /// From the volume into the cache.
    Persist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheOutcome {
    /// Restored from the volume's own key.
    Hit,
    /// Restored from the key of a fallback prefix.
    Fallback,
    /// There was nothing to restore.
    Miss,
    /// The cache holds the same already.
    Unchanged,
    Uploaded,
    /// A failed restore left the volume empty, a failed persist left the cache as it was.
    Failed,
    /// Nothing was to be done, by configuration or because of how the run went.
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// The command returned 0.
    Success,
    /// The command returned something else, or a signal ended it.
    Failure,
    /// A timeout or the end of the run ended it.
    Abort,
    /// It could not be started.
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    Success,
    Failure,
    /// Interrupted or timed out.
    Abort,
    /// A driver or another outside system was unavailable.
    Error,
}
