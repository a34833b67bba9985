use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::{OpState, op2, v8};

use crate::process::memory::{Memory, Share};

/// Buffers that can grow, each with the memory that it may grow to.
#[derive(Default)]
pub struct Resizable(RefCell<Vec<(v8::Weak<v8::ArrayBuffer>, Share)>>);

impl Resizable {
    /// Gives back what buffers have held that V8 has collected.
    pub fn forget_collected(&self) {
        if let Ok(mut held) = self.0.try_borrow_mut() {
            held.retain(|(buffer, _)| !buffer.is_empty());
        }
    }

    /// The same for those whose memory has gone to another buffer, too.
    fn sweep(&self, scope: &mut v8::PinScope<'_, '_>) {
        // A handle that is left keeps its buffer from being collected.
        v8::scope!(let scope, scope);
        self.0.borrow_mut().retain(|(buffer, _)| {
            buffer.to_local(scope).is_some_and(|buffer| !buffer.was_detached())
        });
    }

    fn push(&self, buffer: v8::Weak<v8::ArrayBuffer>, share: Share) {
        self.0.borrow_mut().push((buffer, share));
    }

    /// Whether the list has no room for one more.
    fn is_full(&self) -> bool {
        let held = self.0.borrow();
        held.len() == held.capacity()
    }

    /// In bytes.
    fn total(&self) -> usize {
        self.0.borrow().iter().map(|(_, share)| share.bytes()).sum()
    }
}

/// The largest whole number that `f64` has no neighbour of.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Counts the memory that a resizable buffer may grow to for as long as it lives. Returns whether there is
/// so much left.
#[op2(nofast)]
pub fn op_memory_hold(
    state: &mut OpState,
    scope: &mut v8::PinScope<'_, '_>,
    buffer: v8::Local<'_, v8::Value>,
    bytes: f64,
) -> bool {
    let Ok(buffer) = v8::Local::<v8::ArrayBuffer>::try_from(buffer) else { return false };
    if !(0.0..=MAX_SAFE_INTEGER).contains(&bytes) || bytes.fract() != 0.0 {
        return false;
    }
    let bytes = bytes as usize;
    let memory = state.borrow::<Arc<Memory>>();
    let held = state.borrow::<Rc<Resizable>>();
    // So that the list does not grow with the buffers that are gone.
    if held.is_full() {
        held.sweep(scope);
    }
    let share = memory.share(bytes).or_else(|| {
        held.sweep(scope);
        memory.share(bytes)
    });
    let share = share.or_else(|| {
        // Those of which the pipeline has let go may not be collected yet.
        scope.low_memory_notification();
        held.sweep(scope);
        memory.share(bytes)
    });
    share.map(|share| held.push(v8::Weak::new(scope, buffer), share)).is_some()
}

/// Counts a copy of all resizable buffers for good. Returns whether there is so much left.
#[op2(fast)]
pub fn op_memory_hold_clone(state: &mut OpState, scope: &mut v8::PinScope<'_, '_>) -> bool {
    let held = state.borrow::<Rc<Resizable>>();
    held.sweep(scope);
    state.borrow::<Arc<Memory>>().take(held.total())
}

/// How much memory the pipeline has left, in bytes: what would need more is not even begun.
#[op2(fast)]
pub fn op_memory_left(state: &mut OpState) -> f64 {
    state.borrow::<Arc<Memory>>().left() as f64
}

/// How long a text is as UTF-8, in bytes.
#[op2(fast)]
pub fn op_utf8_length(scope: &mut v8::PinScope<'_, '_>, text: v8::Local<'_, v8::String>) -> f64 {
    text.utf8_length(scope) as f64
}
