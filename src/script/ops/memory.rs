use std::sync::Arc;

use deno_core::{OpState, op2, v8};

use crate::memory::Memory;

/// Counts memory that the pipeline is about to use outside of V8's heap. Returns whether there is so
/// much left.
#[op2(fast)]
pub fn op_memory_take(state: &mut OpState, bytes: f64) -> bool {
    state.borrow::<Arc<Memory>>().take(bytes as usize)
}

/// Gives back what `op_memory_take` has counted.
#[op2(fast)]
pub fn op_memory_give_back(state: &mut OpState, bytes: f64) {
    state.borrow::<Arc<Memory>>().give_back(bytes as usize);
}

/// How long a text is as UTF-8, in bytes.
#[op2(fast)]
pub fn op_utf8_length(scope: &mut v8::PinScope<'_, '_>, text: v8::Local<'_, v8::String>) -> f64 {
    text.utf8_length(scope) as f64
}
