//! The memory that a pipeline uses outside of V8's heap.
//!
//! Typed arrays live outside of V8's heap, and so do the input of tasks, the output that results hold, the
//! texts of tasks that wait, source maps, and buffers that V8 makes by itself. After each full collection
//! V8's heap is counted here too, so that both together stay within `--js-heap`. What an op would copy is
//! bounded in `js/` first: a text that is used a million times is one text in V8's heap, and a million in
//! Rust. Sizes come from the platform's own getters, taken when the snapshot is made, since a pipeline may
//! replace any function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a pipeline keeps outside of the heap that V8 limits: typed arrays, the input of tasks, the
/// output that results hold, what is being parsed.
///
/// V8's heap and this are held to one limit: what the heap had in use after its last full collection
/// is not left for the rest.
#[derive(Debug)]
pub struct Memory {
    /// In bytes.
    limit: usize,
    outside: AtomicUsize,
    heap: AtomicUsize,
    /// Something could not be given, and nothing could tell the pipeline.
    exceeded: AtomicBool,
    told: tokio::sync::Notify,
}

/// A part of the memory, which is given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Memory {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            outside: AtomicUsize::new(0),
            heap: AtomicUsize::new(0),
            exceeded: AtomicBool::new(false),
            told: tokio::sync::Notify::new(),
        })
    }

    /// In bytes.
    pub fn limit(&self) -> u64 {
        u64::try_from(self.limit).unwrap_or(u64::MAX)
    }

    /// Whether there were so many bytes left, which are then in use.
    pub fn take(&self, bytes: usize) -> bool {
        let heap = self.heap.load(Ordering::Relaxed);
        let take = |outside: usize| {
            let taken = outside.checked_add(bytes)?;
            (taken.checked_add(heap)? <= self.limit).then_some(taken)
        };
        self.outside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Gives back what `take` has given. To give back more is a mistake, which must not become a limit
    /// that is none.
    pub fn give_back(&self, bytes: usize) {
        let give = |outside: usize| Some(outside.saturating_sub(bytes));
        _ = self.outside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    /// How much is left, in bytes.
    pub fn left(&self) -> usize {
        let used = self.heap.load(Ordering::Relaxed);
        self.limit.saturating_sub(used.saturating_add(self.outside.load(Ordering::Relaxed)))
    }

    /// The same as `take`, given back by itself.
    pub fn share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.take(bytes).then(|| Share { memory: self.clone(), bytes })
    }

    /// What V8's heap has in use. Returns whether that and the rest are within the limit.
    pub fn set_heap(&self, bytes: usize) -> bool {
        self.heap.store(bytes, Ordering::Relaxed);
        bytes.saturating_add(self.outside.load(Ordering::Relaxed)) <= self.limit
    }

    /// Says that the pipeline needs more than the limit, so that its run ends.
    pub fn exceed(&self) {
        self.exceeded.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Waits until somebody has called `exceed`.
    pub async fn exceeded(&self) {
        loop {
            let told = self.told.notified();
            if self.exceeded.load(Ordering::SeqCst) {
                return;
            }
            told.await;
        }
    }
}

impl Share {
    /// Takes more. Returns whether there was that much.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.memory.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says that there is too little for what the pipeline does.
    pub fn exceed(&self) {
        self.memory.exceed();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giving_back_too_much_does_not_lift_the_limit() {
        let memory = Memory::new(100);
        assert!(memory.take(60));
        memory.give_back(usize::MAX);
        assert!(memory.take(100));
        assert!(!memory.take(1));
        memory.give_back(100);
        assert!(!memory.take(101));
    }

    #[test]
    fn what_is_left_is_what_neither_heap_nor_others_use() {
        let memory = Memory::new(100);
        assert!(memory.set_heap(30));
        let share = memory.share(50).unwrap();
        assert_eq!((memory.left(), share.bytes()), (20, 50));
        drop(share);
        assert_eq!(memory.left(), 70);
        assert!(!memory.set_heap(200));
        assert_eq!(memory.left(), 0);
    }
}
