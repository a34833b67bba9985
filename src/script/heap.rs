//! A pipeline that needs more memory than it may have ends with an error, not with the process.
//!
//! V8 calls back shortly before the limit. Execution is terminated then and the limit raised a little, so
//! that the pipeline can end in order. Code that does not look for the termination in time, or an allocation
//! that V8 gives up on at once, [parks](super::guard) the isolate's thread.

use std::ffi::{c_char, c_void};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deno_core::{JsRuntime, v8};
use diagnostic::Diagnostic;

use super::error::ScriptError;
use super::guard::give_up;
use super::ops::Resizable;
use crate::process::memory::Memory;

/// How much more than its limit a heap may grow, in bytes, until the pipeline has ended.
const RESERVE: usize = 64 * 1024 * 1024;

/// Whether the heap of an isolate has run full.
#[derive(Default)]
pub struct HeapGuard(Arc<AtomicBool>);

impl HeapGuard {
    /// Ends the pipeline when its heap is full. When V8 cannot wait for that, the isolate's thread
    /// gives up.
    pub fn install(js: &mut JsRuntime, memory: Arc<Memory>) -> Self {
        let guard = Self::default();
        let full = guard.0.clone();
        let isolate = js.v8_isolate().thread_safe_handle();
        js.add_near_heap_limit_callback(move |current, _initial| {
            // Optimised code may look for the request to terminate too rarely.
            if full.swap(true, Ordering::Relaxed) {
                give_up();
            }
            isolate.terminate_execution();
            current + RESERVE
        });
        js.v8_isolate().set_oom_error_handler(out_of_memory);
        watch(js, guard.0.clone(), memory);
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
unsafe extern "C" fn out_of_memory(_location: *const c_char, _details: &v8::OomDetails) {
    give_up();
}

/// What V8 hands to `collected`.
struct Watch {
    full: Arc<AtomicBool>,
    memory: Arc<Memory>,
    resizable: Rc<Resizable>,
}

/// Looks at the heap after each full collection, so that it and the memory outside of it stay within
/// one limit.
fn watch(js: &mut JsRuntime, full: Arc<AtomicBool>, memory: Arc<Memory>) {
    // Never freed: V8 may call for as long as the isolate lives, which is as long as the process.
    let resizable = js.op_state().borrow().borrow::<Rc<Resizable>>().clone();
    let watch: &'static Watch = Box::leak(Box::new(Watch { full, memory, resizable }));
    js.v8_isolate().add_gc_epilogue_callback(
        collected,
        std::ptr::from_ref(watch).cast_mut().cast(),
        v8::GCType::kGCTypeMarkSweepCompact,
    );
}

unsafe extern "C" fn collected(
    isolate: v8::UnsafeRawIsolatePtr,
    _: v8::GCType,
    _: v8::GCCallbackFlags,
    data: *mut c_void,
) {
    // SAFETY: `watch` registered a `Watch` that is never freed, and nobody has it exclusively. V8 calls
    // this on the isolate's thread, which is where it was made.
    let watch = unsafe { &*data.cast::<Watch>() };
    // SAFETY: V8 calls this on the isolate's thread with a pointer to the isolate, which is alive.
    let mut isolate = unsafe { v8::Isolate::from_raw_isolate_ptr(isolate) };
    watch.resizable.forget_collected();
    let used = isolate.get_heap_statistics().used_heap_size();
    if !watch.memory.set_heap(used) && !watch.full.swap(true, Ordering::Relaxed) {
        isolate.terminate_execution();
    }
}
