//! A driver that panics, which none should.

use std::sync::Arc;

use async_trait::async_trait;
use ci::driver::{Capabilities, Driver, DriverError, Sandbox, TaskEnd, UpdateSink, Volume};
use ci::event::EventSink;
use ci::stop::Stop;
use ci::task::{SandboxSpec, TaskSpec};
use ci::task_runner::{TaskOptions, TaskRunner};
use ci::volume::{VolumeManager, VolumeName};
use tokio_util::sync::CancellationToken;

use crate::driving::sh;

struct Panicking;

#[async_trait]
impl Driver for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn capabilities(&self) -> Capabilities {
        panic!("on purpose")
    }

    async fn create_volume(
        &self,
        _name: &VolumeName,
        _size: Option<u64>,
    ) -> Result<Volume, DriverError> {
        panic!("on purpose")
    }

    async fn run(
        &self,
        _spec: &TaskSpec,
        _updates: UpdateSink,
        _cancel: CancellationToken,
    ) -> TaskEnd {
        panic!("on purpose")
    }

    async fn open_sandbox(&self, _spec: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
        panic!("on purpose")
    }

    async fn end_tasks(&self) {}

    async fn close(&self) -> Result<(), DriverError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_task_that_panics_does_not_count_as_running() {
    let stop = Arc::new(Stop::default());
    let (events, _log) = EventSink::new();
    let driver: Arc<dyn Driver> = Arc::new(Panicking);
    let volumes = Arc::new(VolumeManager::new(driver.clone(), events.clone(), None));
    let runner = Arc::new(TaskRunner::new(driver, volumes, events, stop, None));
    let task = tokio::spawn(runner.start(sh("true"), TaskOptions::default()));
    assert!(task.await.unwrap_err().is_panic());
    // What a run waits for at its end.
    runner.idle().await;
    // Nor does one that nobody goes on with.
    drop(runner.start(sh("true"), TaskOptions::default()));
    runner.idle().await;
}
