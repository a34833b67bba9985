//! What is known of the driver before anything runs.

use std::sync::Arc;

use async_trait::async_trait;

use super::config::parse;
use super::{DockerConfig, DockerDriver, prune};
use crate::driver::registration::{Capabilities, Interrupted, Registration, Setup};
use crate::driver::{Driver, DriverError, NoticeSink, Pruned, RunIdentity};

pub static REGISTRATION: Registration = Registration {
    name: "docker",
    keys: &["namespace", "host", "pull", "pull_timeout", "grace", "network"],
    lists: &[],
    capabilities: Capabilities { images: true },
    parse: |settings| Ok(Arc::new(parse(settings)?)),
    interrupted: Interrupted {
        message: "ended at once by a second signal, without cleaning up",
        help: "remove what it has left on the engine with `ci prune` and the same `--driver`; the \
               next run of the same namespace does so, too",
    },
};

#[async_trait]
impl Setup for DockerConfig {
    async fn connect(
        &self,
        identity: &RunIdentity,
        notices: NoticeSink,
    ) -> Result<Arc<dyn Driver>, DriverError> {
        Ok(Arc::new(DockerDriver::start(self, identity, notices).await?))
    }

    async fn prune(&self) -> Result<Pruned, DriverError> {
        prune(self).await
    }
}
