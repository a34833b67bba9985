//! What all requests of a store in a bucket share.

use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::client;
use super::journal::Journal;
use super::remote::Remote;
use crate::error::StoreError;
use crate::location::S3Location;
use crate::options::StoreOptions;

pub struct S3Store {
    pub(super) location: S3Location,
    pub(super) options: StoreOptions,
    pub(super) remote: OnceCell<Arc<Remote>>,
    pub(super) journal: Journal,
    /// Uploads that are being taken back.
    pub(super) cleanup: TaskTracker,
    /// Whether the server honours conditions of puts, and of completed uploads.
    pub(super) honours_put: OnceCell<bool>,
    pub(super) honours_complete: OnceCell<bool>,
}

impl S3Store {
    pub fn new(location: S3Location, options: StoreOptions) -> Self {
        let journal = Journal::new(&options.state, &location);
        Self {
            location,
            options,
            remote: OnceCell::new(),
            journal,
            cleanup: TaskTracker::new(),
            honours_put: OnceCell::new(),
            honours_complete: OnceCell::new(),
        }
    }

    /// Made when it is needed first: reading credentials may take a while.
    pub(super) async fn remote(&self) -> Result<&Arc<Remote>, StoreError> {
        let connect = async || client::connect(&self.location, &self.options).await.map(Arc::new);
        self.remote.get_or_try_init(connect).await
    }
}
