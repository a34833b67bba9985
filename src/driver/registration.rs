//! What a driver says of itself, for the one line that names it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::settings::{DriverConfigError, Setting};
use super::{Driver, DriverError, NoticeSink, Pruned, RunIdentity};

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

/// The settings of one driver, and what can be done with them.
#[async_trait]
pub trait Setup: fmt::Debug + Send + Sync {
    /// Connects to the driver, for one run.
    async fn connect(
        &self,
        identity: &RunIdentity,
        notices: NoticeSink,
    ) -> Result<Arc<dyn Driver>, DriverError>;

    /// Removes what runs left behind that are no more: of the namespace that the settings name, or else
    /// of all.
    async fn prune(&self) -> Result<Pruned, DriverError>;
}
