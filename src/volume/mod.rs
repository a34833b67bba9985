//! Volumes: named directories that tasks share.

mod manager;
mod name;

pub use manager::VolumeManager;
pub use name::{VolumeName, VolumeNameError};
