//! What becomes of an isolate's thread that cannot go on.
//!
//! V8 aborts the process when its heap is full, and an aborted process leaves its tasks behind. So the
//! thread is parked for good instead, and the rest of the program ends the run in order.

use std::cell::Cell;

use tokio::sync::oneshot;

thread_local! {
    /// Whom to tell; only the thread of a running pipeline has somebody.
    static REPORT: Cell<Option<oneshot::Sender<()>>> = const { Cell::new(None) };
}

/// Whom this thread tells when it gives up.
pub fn report_to(report: oneshot::Sender<()>) {
    REPORT.set(Some(report));
}

/// Has the rest of the program end the run, while this thread, which cannot go on, waits.
pub fn give_up() -> ! {
    if let Some(report) = REPORT.try_with(Cell::take).ok().flatten() {
        _ = report.send(());
    }
    loop {
        std::thread::park();
    }
}
