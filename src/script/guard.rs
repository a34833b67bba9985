//! What becomes of a run whose isolate's thread cannot go on.
//!
//! V8 aborts the process when its heap is full and when a panic reaches it, and an aborted process
//! leaves its tasks behind. So the thread is parked for good instead, and the rest of the program
//! ends the run in order.

use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::Once;

use tokio::sync::oneshot;

/// Why the isolate's thread cannot go on.
#[derive(Debug)]
pub enum GiveUp {
    HeapIsFull,
    /// With what the panic said, and where.
    Panicked(String),
}

thread_local! {
    /// Whom to tell; only the thread of a running pipeline has somebody.
    static REPORT: Cell<Option<oneshot::Sender<GiveUp>>> = const { Cell::new(None) };
}

/// Makes this thread report a panic to `report`, and park, instead of unwinding.
///
/// A panic of an op would otherwise unwind into V8, which aborts the process.
pub fn watch_this_thread(report: oneshot::Sender<GiveUp>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if REPORT
                .try_with(|report| report.take())
                .ok()
                .flatten()
                .map(|to| tell(to, info))
                .is_none()
            {
                usual(info);
            }
        }));
    });
    REPORT.set(Some(report));
}

fn tell(report: oneshot::Sender<GiveUp>, info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    _ = report.send(GiveUp::Panicked(format!("{message}{}", place.unwrap_or_default())));
    park();
}

/// Has the rest of the program end the run, while this thread, which cannot go on, waits.
pub fn give_up(reason: GiveUp) -> ! {
    if let Some(report) = REPORT.try_with(Cell::take).ok().flatten() {
        _ = report.send(reason);
    }
    park()
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn op() {
        panic!("a mistake");
    }

    #[test]
    fn a_panic_that_would_abort_the_process_is_reported() {
        let (report, reported) = oneshot::channel();
        std::thread::spawn(move || {
            watch_this_thread(report);
            op();
        });
        match reported.blocking_recv() {
            Ok(GiveUp::Panicked(message)) => assert!(message.starts_with("a mistake at ")),
            other => panic!("{other:?}"),
        }
    }
}
