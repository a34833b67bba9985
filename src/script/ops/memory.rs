use std::sync::Arc;

use deno_core::{OpState, op2, v8};

use crate::memory::{Memory, Share};

/// Buffers that can grow, each with the memory that it may grow to.
#[derive(Default)]
pub struct Resizable(Vec<(v8::Weak<v8::ArrayBuffer>, Share)>);

impl Resizable {
    /// Gives back what collected and detached buffers have held.
    fn sweep(&mut self, scope: &mut v8::PinScope<'_, '_>) {
        self.0.retain(|(buffer, _)| {
            buffer.to_local(scope).is_some_and(|buffer| !buffer.was_detached())
        });
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
    let memory = state.borrow::<Arc<Memory>>().clone();
    let held = state.borrow_mut::<Resizable>();
    // So that the list does not grow with the buffers that are gone.
    if held.0.len() == held.0.capacity() {
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
    share.map(|share| held.0.push((v8::Weak::new(scope, buffer), share))).is_some()
}

/// Counts a copy of all resizable buffers for good. Returns whether there is so much left.
#[op2(fast)]
pub fn op_memory_hold_clone(state: &mut OpState, scope: &mut v8::PinScope<'_, '_>) -> bool {
    let memory = state.borrow::<Arc<Memory>>().clone();
    let held = state.borrow_mut::<Resizable>();
    held.sweep(scope);
    memory.take(held.0.iter().map(|(_, share)| share.bytes()).sum())
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
