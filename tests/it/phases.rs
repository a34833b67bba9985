//! What a task's time counts from.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ci::driver::{
    Capabilities, Driver, DriverError, Sandbox, TaskEnd, TaskUpdate, UpdateSink, Volume,
};
use ci::event::EventSink;
use ci::stop::Stop;
use ci::task::{SandboxSpec, TaskExit, TaskSpec};
use ci::task_runner::{TaskOptions, TaskRunner};
use ci::volume::{VolumeManager, VolumeName};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::driving::sh;

/// Takes longer to prepare a task than its command may run.
struct Slow {
    /// Whether the command ends by itself.
    ends: bool,
}

const TIMEOUT: Duration = Duration::from_millis(100);

#[async_trait]
impl Driver for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { images: true }
    }

    async fn create_volume(&self, _: &VolumeName, _: Option<u64>) -> Result<Volume, DriverError> {
        unreachable!("no volume is created")
    }

    async fn run(&self, _: &TaskSpec, updates: UpdateSink, cancel: CancellationToken) -> TaskEnd {
        // The time is what this is about.
        sleep(5 * TIMEOUT).await;
        updates.send(TaskUpdate::Started).await.unwrap();
        if self.ends {
            return Ok(TaskExit::Code(0)).into();
        }
        cancel.cancelled().await;
        Ok(TaskExit::Cancelled).into()
    }

    async fn open_sandbox(&self, _: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
        unreachable!("no sandbox is opened")
    }

    async fn end_tasks(&self) {}

    async fn close(&self) -> Result<(), DriverError> {
        Ok(())
    }
}

async fn run(ends: bool) -> (TaskExit, i32) {
    let stop = Arc::new(Stop::default());
    let (events, mut log) = EventSink::new();
    tokio::spawn(async move { while log.recv().await.is_some() {} });
    let driver: Arc<dyn Driver> = Arc::new(Slow { ends });
    let volumes = Arc::new(VolumeManager::new(driver.clone(), events.clone(), None));
    let runner = Arc::new(TaskRunner::new(driver, volumes, events, stop, None));
    let timeout = Some(TIMEOUT);
    let result = runner.start(sh("true"), TaskOptions { timeout, ..TaskOptions::default() }).await;
    let result = result.unwrap();
    (result.exit, result.code)
}

#[tokio::test]
async fn a_timeout_counts_from_the_start_of_the_command() {
    assert_eq!(run(true).await, (TaskExit::Code(0), 0));
    assert_eq!(run(false).await, (TaskExit::Cancelled, 124));
}
