//! What is known of the driver before anything runs.

use std::sync::Arc;

use async_trait::async_trait;

use super::config::parse;
use super::{NativeConfig, NativeDriver, prune};
use crate::driver::registration::{Capabilities, Interrupted, Registration, Setup};
use crate::driver::{Driver, DriverError, NoticeSink, Pruned, RunIdentity};

pub static REGISTRATION: Registration = Registration {
    name: "native",
    keys: &["namespace", "env", "dir", "grace", "mounts"],
    lists: &["env"],
    capabilities: Capabilities { images: false },
    parse: |settings| Ok(Arc::new(parse(settings)?)),
    // The supervisor ends the run's processes all the same.
    interrupted: Interrupted {
        message: "ended at once by a second signal",
        help: "its directories are left; the next run of the same namespace removes them, and so does \
               `ci prune`",
    },
};

#[async_trait]
impl Setup for NativeConfig {
    async fn connect(
        &self,
        identity: &RunIdentity,
        notices: NoticeSink,
    ) -> Result<Arc<dyn Driver>, DriverError> {
        Ok(Arc::new(NativeDriver::start(self, identity, notices).await?))
    }

    async fn prune(&self) -> Result<Pruned, DriverError> {
        prune(self).await
    }
}
