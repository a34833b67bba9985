//! What happens when something in this process panics.
//!
//! A panic stops the run like a signal and becomes its error: nobody waits for most threads and tasks, so
//! nobody else would notice. Guards count what the end of a run waits for. A panic on the isolate's thread
//! parks that thread: unwinding through V8's frames would abort the process before the driver is closed.

use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::thread;

use crate::stop::Stop;

/// The name of the isolate's thread.
pub const ISOLATE_THREAD: &str = "pipeline";

/// From now on a panic anywhere in this process ends the run, in order and with an error. Most threads and
/// tasks are not waited for by anybody who could tell.
pub fn stops(stop: Arc<Stop>) {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        stop.panicked(text(info));
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            default(info);
        }
        // There are frames of V8 below this one, through which nothing can unwind: the process would
        // abort, and leave behind what the driver has made. The other threads end the run.
        while thread::current().name() == Some(ISOLATE_THREAD) {
            thread::park();
        }
    }));
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    match info.location() {
        Some(place) => format!("{message} at {}:{}", place.file(), place.line()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::StopReason;

    #[tokio::test]
    async fn a_panic_in_a_task_ends_the_run() {
        let stop = Arc::new(Stop::default());
        stops(stop.clone());
        let task = tokio::spawn(async { panic!("on purpose") });
        assert!(task.await.is_err());
        assert_eq!(stop.reason(), Some(StopReason::Broken));
        let told = stop.panic().unwrap_or_default();
        assert!(told.starts_with("on purpose at src/process/panic.rs:"), "{told}");
    }
}
