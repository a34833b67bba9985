//! Volumes: named directories that tasks share, and that a cache keeps from run to run.

mod cache;
mod manager;

pub use cache::{DEFAULT_SIZE, LocalStore, VolumeCache, describe};
pub use manager::{Usage, VolumeManager};
pub use spec::{VolumeName, VolumeNameError};

/// How the pipeline ended, as far as its volumes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    Succeeded,
    Failed,
    /// Interrupted or timed out.
    Aborted,
}
