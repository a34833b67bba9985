//! A pipeline that needs more memory than it may have ends with an error, not with the process.

use std::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use deno_core::{JsRuntime, v8};
use tokio::sync::oneshot;

use super::error::ScriptError;
use crate::diagnostic::Diagnostic;

/// How much more than its limit a heap may grow, in bytes, until the pipeline has ended.
const RESERVE: usize = 64 * 1024 * 1024;

/// Whether the heap of an isolate has run full.
#[derive(Default)]
pub struct HeapGuard(Arc<AtomicBool>);

/// Whom to tell when V8 gives up. Its handler takes no data, so this has to be global; a process
/// runs one isolate.
static GAVE_UP: Mutex<Option<oneshot::Sender<()>>> = Mutex::new(None);

impl HeapGuard {
    /// Ends the pipeline when its heap is full. `gave_up` is used when V8 could not wait for that:
    /// the isolate's thread is lost then, and the process has to end soon.
    pub fn install(js: &mut JsRuntime, gave_up: oneshot::Sender<()>) -> Self {
        let guard = Self::default();
        let full = guard.0.clone();
        let isolate = js.v8_isolate().thread_safe_handle();
        js.add_near_heap_limit_callback(move |current, _initial| {
            // Optimised code may look for the request to terminate too rarely.
            if full.swap(true, Ordering::Relaxed) {
                wait_for_the_end();
            }
            isolate.terminate_execution();
            current + RESERVE
        });
        *GAVE_UP.lock().unwrap_or_else(PoisonError::into_inner) = Some(gave_up);
        js.v8_isolate().set_oom_error_handler(give_up);
        guard
    }

    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The error of a heap that has run full.
pub fn exhausted(limit: u64) -> ScriptError {
    let limit = bytesize::ByteSize(limit).display().iec();
    ScriptError::failed(
        Diagnostic::new(format!("the pipeline needs more memory than its limit of {limit}"))
            .help("keep less in variables, or raise the limit with `--js-heap`"),
    )
}

/// Called by V8 when an allocation cannot be satisfied at all. The process would abort on return,
/// with its tasks left behind.
unsafe extern "C" fn give_up(_location: *const c_char, _details: &v8::OomDetails) {
    wait_for_the_end();
}

/// Has the rest of the program end the run, while this thread, which cannot go on, waits.
fn wait_for_the_end() -> ! {
    if let Some(sender) = GAVE_UP.lock().unwrap_or_else(PoisonError::into_inner).take() {
        _ = sender.send(());
    }
    loop {
        std::thread::park();
    }
}
