//! The memory of typed arrays, which V8 keeps outside of the heap that it limits.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use deno_core::v8;

use crate::process::memory::Memory;

/// An allocator that takes what it hands out from `memory`. A pipeline that asks for more gets a
/// `RangeError`.
pub fn limited(memory: Arc<Memory>) -> v8::UniqueRef<v8::Allocator> {
    // SAFETY: the handle comes from `Arc::into_raw`, as `release` expects, which V8 calls once, when
    // it needs the allocator no more.
    unsafe { v8::new_rust_allocator(Arc::into_raw(memory), &FUNCTIONS) }
}

static FUNCTIONS: v8::RustAllocatorVtable<Memory> =
    v8::RustAllocatorVtable { allocate, allocate_uninitialized: allocate, free, drop: release };

/// A null pointer says that there is no memory.
unsafe extern "C" fn allocate(memory: &Memory, len: usize) -> *mut c_void {
    let Some(layout) = layout(len) else { return null_mut() };
    if !memory.take(len) {
        return null_mut();
    }
    // SAFETY: the layout's size is not zero.
    let data = unsafe { alloc_zeroed(layout) };
    if data.is_null() {
        memory.give_back(len);
    }
    data.cast()
}

unsafe extern "C" fn free(memory: &Memory, data: *mut c_void, len: usize) {
    let Some(layout) = layout(len) else { return };
    // SAFETY: V8 gives back what `allocate` returned for the same length, hence the same layout.
    unsafe { dealloc(data.cast(), layout) };
    memory.give_back(len);
}

unsafe extern "C" fn release(memory: *const Memory) {
    // SAFETY: `limited` made this pointer with `Arc::into_raw`, and V8 calls this once.
    drop(unsafe { Arc::from_raw(memory) });
}

/// Aligned for any element of a typed array.
fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(1), 16).ok()
}
