//! How long a run waits at its end.

use std::pin::pin;
use std::time::Duration;

use crate::driver::{Driver, DriverError};
use crate::event::EventSink;
use crate::stop::Stop;

/// How long removing what the run has made may take before the user is told that it goes on.
const SLOW: Duration = Duration::from_secs(5);

/// Waits for `work` until the run has to stop, and for this long after that.
pub async fn within<T>(stop: &Stop, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = async {
            stop.outside().cancelled().await;
            tokio::time::sleep(limit).await;
        } => None,
    }
}

/// Ends what still runs, and removes what the run has made. That may be a lot: the user hears that it
/// goes on, and a run that has to stop leaves the rest to the next one after `limit`.
pub async fn close(
    driver: &dyn Driver,
    stop: &Stop,
    events: &EventSink,
    limit: Duration,
) -> Result<(), DriverError> {
    close_slowly(driver, stop, events, SLOW, limit).await
}

async fn close_slowly(
    driver: &dyn Driver,
    stop: &Stop,
    events: &EventSink,
    slow: Duration,
    limit: Duration,
) -> Result<(), DriverError> {
    driver.end_tasks().await;
    let started = tokio::time::Instant::now();
    let mut closed = pin!(within(stop, limit, driver.close()));
    let mut pause = slow;
    loop {
        tokio::select! {
            biased;
            closed = &mut closed => {
                if closed.is_none() {
                    events.warning(format!(
                        "gave up removing what the run has made after {}, the next run of the same \
                         namespace removes the rest, and so does `ci prune`",
                        seconds(started.elapsed())
                    ));
                }
                return closed.unwrap_or(Ok(()));
            }
            () = tokio::time::sleep_until(started + pause) => {
                events.notice(format!(
                    "removing what the run has made goes on after {}; to interrupt the run twice \
                     leaves the rest to the next one",
                    seconds(started.elapsed())
                ));
                pause *= 2;
            }
        }
    }
}

fn seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::driver::{Capabilities, Sandbox, TaskEnd, UpdateSink, Volume};
    use crate::event::Message;
    use crate::stop::StopReason;
    use crate::task::{SandboxSpec, TaskSpec};
    use crate::volume::VolumeName;

    /// A driver that removes for ever.
    struct Endless;

    #[async_trait]
    impl Driver for Endless {
        fn name(&self) -> &'static str {
            "endless"
        }
        fn capabilities(&self) -> Capabilities {
            unreachable!("no test asks for it")
        }
        async fn create_volume(
            &self,
            _: &VolumeName,
            _: Option<u64>,
        ) -> Result<Volume, DriverError> {
            unreachable!("no test asks for it")
        }
        async fn run(
            &self,
            _: &TaskSpec,
            _: UpdateSink,
            _: tokio_util::sync::CancellationToken,
        ) -> TaskEnd {
            unreachable!("no test asks for it")
        }
        async fn open_sandbox(&self, _: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
            unreachable!("no test asks for it")
        }
        async fn end_tasks(&self) {}
        async fn close(&self) -> Result<(), DriverError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn removing_for_long_is_told_and_given_up_when_the_run_has_to_stop() {
        let stop = Arc::new(Stop::default());
        let (events, mut log) = EventSink::new();
        let short = Duration::from_millis(1);
        let mut closing = pin!(close_slowly(&Endless, &stop, &events, short, short));
        let told = tokio::select! {
            _ = &mut closing => None,
            told = log.recv() => told,
        };
        let is_told = |message: Option<Message>, part: &str| {
            let text = format!("{message:?}");
            assert!(text.contains(part), "{text}");
        };
        is_told(told, "removing what the run has made goes on");
        stop.request(StopReason::Interrupted);
        assert!(closing.await.is_ok());
        let mut last = None;
        while let Ok(message) = log.try_recv() {
            last = Some(message);
        }
        is_told(last, "gave up removing what the run has made");
    }
}
