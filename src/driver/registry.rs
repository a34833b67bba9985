//! The drivers that this program has.
//!
//! A driver is named here and nowhere else. Its folder has all else that is to be known of it.

use std::sync::Arc;

use super::config::Setup;
use super::settings::{DriverConfigError, Setting};
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

/// What is to be known of a driver before anything runs.
pub struct Registration {
    /// In a DSN.
    pub name: &'static str,
    /// Its keys in a DSN, besides those of the cache.
    pub keys: &'static [&'static str],
    /// Those of them that may be given several times.
    pub lists: &'static [&'static str],
    pub capabilities: Capabilities,
    /// Checks the values of its keys.
    pub parse: Parse,
    pub interrupted: Interrupted,
}

/// From checked keys to a driver that can be connected to.
pub type Parse = fn(Vec<Setting>) -> Result<Arc<dyn Setup>, DriverConfigError>;

/// What pipelines may ask of a driver.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Tasks run in container images. A pipeline's task has to name one, and resources may have types that
    /// are images.
    pub images: bool,
}

/// What a user is told who ends a run by a second signal, before it has cleaned up.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    pub message: &'static str,
    /// Says what is left and what removes it.
    pub help: &'static str,
}
