//! What the engine runs a command as.

use async_trait::async_trait;
use bollard::errors::Error;
use tokio_util::sync::CancellationToken;

/// What the engine runs a command as: a container, or a process in one.
#[async_trait]
pub trait Process: Sync {
    /// The exit code, when there is one. `drained` fires at the end of the output.
    async fn code(&self, drained: &CancellationToken) -> Result<i64, Error>;

    /// Sends a signal to all that the command has started, and returns when it is sent. A command that has ended
    /// by itself does not mind, and if the engine is gone, waiting for the command ends as well.
    async fn signal(&self, signal: Signal);

    /// Whether an init process [reports](super::init) on the command.
    fn reports(&self) -> bool;

    /// Whether these first bytes of the output are the engine's, about a command that it cannot start.
    async fn failed_with(&self, output: &[u8]) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Kill,
}
