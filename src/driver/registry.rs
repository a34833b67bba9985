//! The drivers that this program has.
//!
//! A driver is named here and nowhere else. Its folder has all else that is to be known of it.

use super::registration::Registration;
use super::{docker, native};

/// All drivers. The first one runs tasks unless the user says otherwise.
pub static DRIVERS: &[&Registration] = &[
    &native::REGISTRATION,
    &docker::REGISTRATION,
    #[cfg(test)]
    &super::echo::REGISTRATION,
];

/// Names that are spoken for but lead nowhere in this version.
pub const PLANNED: &[&str] = &["k8s"];
