//! The memory of typed arrays, which V8 keeps outside of the heap that it limits.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deno_core::v8;

/// An allocator that hands out at most `limit` bytes at a time. A pipeline that asks for more gets
/// a `RangeError`.
pub fn limited(limit: usize) -> v8::UniqueRef<v8::Allocator> {
    let budget = Arc::into_raw(Arc::new(Budget { left: AtomicUsize::new(limit) }));
    // SAFETY: the handle comes from `Arc::into_raw`, as `release` expects, which V8 calls once, when
    // it needs the allocator no more.
    unsafe { v8::new_rust_allocator(budget, &FUNCTIONS) }
}

struct Budget {
    left: AtomicUsize,
}

impl Budget {
    fn take(&self, len: usize) -> bool {
        let take = |left: usize| left.checked_sub(len);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, len: usize) {
        self.left.fetch_add(len, Ordering::Relaxed);
    }
}

static FUNCTIONS: v8::RustAllocatorVtable<Budget> =
    v8::RustAllocatorVtable { allocate, allocate_uninitialized: allocate, free, drop: release };

/// A null pointer says that there is no memory.
unsafe extern "C" fn allocate(budget: &Budget, len: usize) -> *mut c_void {
    let Some(layout) = layout(len) else { return null_mut() };
    if !budget.take(len) {
        return null_mut();
    }
    // SAFETY: the layout's size is not zero.
    let data = unsafe { alloc_zeroed(layout) };
    if data.is_null() {
        budget.give_back(len);
    }
    data.cast()
}

unsafe extern "C" fn free(budget: &Budget, data: *mut c_void, len: usize) {
    let Some(layout) = layout(len) else { return };
    // SAFETY: V8 gives back what `allocate` returned for the same length, hence the same layout.
    unsafe { dealloc(data.cast(), layout) };
    budget.give_back(len);
}

unsafe extern "C" fn release(budget: *const Budget) {
    // SAFETY: `limited` made this pointer with `Arc::into_raw`, and V8 calls this once.
    drop(unsafe { Arc::from_raw(budget) });
}

/// Aligned for any element of a typed array.
fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(1), 16).ok()
}
