//! The user's own files: the project's go into volumes, and artifacts come out of them.
//!
//! A pipeline names files by paths relative to the project, or to a directory that the command line has named.
//! Everything else of the machine stays out of its reach.

mod artifact;
mod import;
mod kept;
mod publish;
mod read;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use archive::Budget;
use source::{Options, Project, SourceError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transfer::TransferError;

pub use self::artifact::{ArtifactRequest, check_output};
use self::kept::Lent;
pub use self::kept::prune;
use crate::driver::DriverError;
use crate::event::EventSink;
use crate::process::state;
use crate::stop::Stop;
use crate::volume::{VolumeManager, VolumeName};

/// Where artifacts go unless the user says otherwise, below the project's directory.
pub const ARTIFACTS: &str = "ci-artifacts";

/// How much memory all copies together may take that go through an engine, in bytes.
const MEMORY: usize = 64 << 20;

/// How many files are read at the same time.
const READS: usize = 4;

/// The directories that the user has named.
#[derive(Clone, Debug)]
pub struct Directories {
    pub project: Project,
    /// By their names on the command line.
    pub inputs: BTreeMap<String, Project>,
    /// Absolute. It need not exist.
    pub artifacts: PathBuf,
    /// Where artifacts of a pipeline in YAML go, by their names on the command line. Absolute.
    pub outputs: BTreeMap<String, PathBuf>,
    /// Files that the run itself writes, which no copy of the project takes in.
    pub logs: Vec<PathBuf>,
}

/// The files of one run.
pub struct ProjectFiles {
    directories: Directories,
    options: Options,
    volumes: Arc<VolumeManager>,
    events: EventSink,
    stop: Arc<Stop>,
    budget: Budget,
    /// For files that are read into memory.
    reads: Semaphore,
    /// What is under way.
    work: TaskTracker,
    /// Trees that go back to their places.
    lent: Mutex<Vec<Lent>>,
}

/// Why files cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The content of a volume could not be moved.
    #[error("volume `{volume}`: {error}")]
    Volume { volume: VolumeName, error: TransferError },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Refused(String),
    #[error("cannot {action} `{path}`: {cause}")]
    Io { action: &'static str, path: String, cause: std::io::Error },
    #[error("the run is about to end")]
    Cancelled,
}

impl ProjectFiles {
    pub fn new(
        directories: Directories,
        volumes: Arc<VolumeManager>,
        events: EventSink,
        stop: Arc<Stop>,
    ) -> Self {
        let options = Options {
            left_out: directories
                .logs
                .iter()
                .chain(directories.outputs.values())
                .chain([&directories.artifacts, &state::directory()])
                .cloned()
                .collect(),
            ..Options::default()
        };
        Self {
            directories,
            options,
            volumes,
            events,
            stop,
            budget: Budget::new(MEMORY),
            reads: Semaphore::new(READS),
            work: TaskTracker::new(),
            lent: Mutex::default(),
        }
    }

    /// The hash of some files of the project, in hex. See [`source::hash_files`].
    pub async fn hash(&self, patterns: Vec<String>) -> Result<String, FilesError> {
        let (project, options) = (self.directories.project.clone(), self.options.clone());
        let hash = import::blocking(self.stop.token(), move |progress| {
            source::hash_files(&project, &patterns, &options, progress)
        });
        Ok(hash.await??)
    }

    /// Counts something as under way until it has ended.
    pub fn tracked<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.work.track_future(work)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.work.is_empty()
    }

    /// Waits for what is under way. Nothing may be asked for any more.
    pub async fn settle(&self) {
        self.work.close();
        self.work.wait().await;
    }

    /// Whether there is something to [take back](Self::take_back).
    pub fn has_lent(&self) -> bool {
        !self.lent.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Keeps copies of the project for the next run. To be called when no task runs any more, and before the driver
    /// removes its volumes.
    pub async fn take_back(&self) {
        let lent = std::mem::take(&mut *self.lent.lock().unwrap_or_else(PoisonError::into_inner));
        // What takes longer than a new copy is of no use.
        let limit = lent.iter().map(Lent::worth).sum();
        let stop = self.stop.outside().child_token();
        let taken = import::blocking(&stop, move |progress| {
            lent.into_iter().for_each(|lent| lent.take_back(progress));
        });
        let mut taken = std::pin::pin!(taken);
        // Who is stopped keeps nothing.
        if tokio::time::timeout(limit, &mut taken).await.is_err() {
            stop.cancel();
            _ = taken.await;
        }
    }

    fn cancel(&self) -> &CancellationToken {
        self.stop.token()
    }
}

impl FilesError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |cause| Self::Io { action, path, cause }
    }

    fn volume(volume: &VolumeName) -> impl FnOnce(TransferError) -> Self {
        let volume = volume.clone();
        move |error| match error {
            TransferError::Cancelled => Self::Cancelled,
            error => Self::Volume { volume, error },
        }
    }
}
