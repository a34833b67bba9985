//! Which driver runs the tasks, and how it is set up.

use std::fmt;
use std::sync::Arc;

use super::registration::{Registration, Setup};
use super::registry::{DRIVERS, PLANNED};
use super::settings::{DriverConfigError, known};
use super::{Driver, DriverError, NoticeSink, Pruned, RunIdentity};

/// A driver and its settings, parsed and checked.
#[derive(Clone)]
pub struct DriverConfig {
    registration: &'static Registration,
    setup: Arc<dyn Setup>,
}

impl DriverConfig {
    /// The driver of this name, set up with keys and their decoded values.
    pub fn new(driver: &str, settings: Vec<(String, String)>) -> Result<Self, DriverConfigError> {
        let Some(registration) = DRIVERS.iter().copied().find(|known| known.name == driver) else {
            let name = driver.to_owned();
            let known = DRIVERS.iter().map(|driver| driver.name).collect();
            return Err(match PLANNED.contains(&driver) {
                true => DriverConfigError::NotBuiltIn { name, known },
                false => DriverConfigError::UnknownDriver { name, known },
            });
        };
        let Registration { name, keys, lists, .. } = registration;
        let settings = known(name, keys, lists, settings)?;
        let setup = (registration.parse)(settings)?;
        Ok(Self { registration, setup })
    }

    /// The driver's name in a DSN.
    pub fn name(&self) -> &'static str {
        self.registration.name
    }

    /// What is known of the driver without its settings.
    pub fn registration(&self) -> &'static Registration {
        self.registration
    }

    /// Connects to the driver.
    pub async fn connect(
        &self,
        identity: &RunIdentity,
        notices: NoticeSink,
    ) -> Result<Arc<dyn Driver>, DriverError> {
        self.setup.connect(identity, notices).await
    }

    /// Removes what runs left behind that are no more: of the namespace that the configuration names, or
    /// else of all.
    pub async fn prune(&self) -> Result<Pruned, DriverError> {
        self.setup.prune().await
    }
}

impl fmt::Debug for DriverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.setup.fmt(f)
    }
}
