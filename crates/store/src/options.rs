//! How a store is to be used.

use std::path::PathBuf;
use std::time::Duration;

use crate::key::KeyPrefix;

/// How patient a store is, and where it keeps notes of its own.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A transfer that moves no byte for this long is retried.
    pub stall: Duration,
    /// The most time that one `get` or `put` may take, retries included.
    pub budget: Duration,
    /// How long any other request is sent again that fails for a passing reason.
    pub retry: Duration,
    /// Below which archives are written, and so where the right to do so is looked at.
    pub prefix: KeyPrefix,
    /// A directory of this machine for the journal of uploads; it is made when needed.
    pub state: PathBuf,
}
