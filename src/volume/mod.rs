//! Volumes: named directories that tasks share.

mod name;

pub use name::{VolumeName, VolumeNameError};
