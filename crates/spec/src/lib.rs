//! Plain data that all parts of the program speak: tasks, volume names, durations.
//!
//! Nothing in here does anything. Types say in their docs what their values mean, and refuse what has no
//! meaning.

pub mod duration;
mod mask;
mod percent;
pub mod suggest;
pub mod task;
mod volume_name;

pub use mask::masked;
pub use percent::percent_decoded;
pub use volume_name::{VolumeName, VolumeNameError};
