//! How a caller stops packing or unpacking, and sees what it is doing.
//!
//! Every wait of a transfer ends by progress, by a stop or by a deadline. Threads wait only in `queue.rs`,
//! `ordered.rs` and `budget.rs`. A [`Control`] wakes all of them, and interrupts a source or a sink that
//! waits. A thread that panics stops the others, and its panic is the error. Each thread marks the stage that
//! it is busy in, so a transfer that stands still ends with the name of the stage that everything else waits
//! for. The crate in `models/` runs these files under shuttle, a model checker; it is a crate of its own
//! because shuttle's features would recompile other dependencies.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use super::sync::{AtomicU8, AtomicU64, AtomicUsize, Mutex, MutexGuard};

/// Something that may wait, and looks at its condition again when it is woken.
pub trait Wake: Send + Sync {
    fn wake(&self);
}

/// Work that may stand still. The order is the one in which a stage is blamed: a stage that has nowhere to
/// put its results makes all stages before it wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Files of a volume, or an archive that a driver takes, are written.
    Write,
    /// An archive is handed to a store.
    Upload,
    /// Files of a volume, or an archive that a driver gives, are read.
    Pack,
    Compress,
    Decompress,
    /// An archive comes from a store.
    Download,
    /// Other archives have the memory.
    Memory,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Write,
        Self::Upload,
        Self::Pack,
        Self::Compress,
        Self::Decompress,
        Self::Download,
        Self::Memory,
    ];
}

/// The work was stopped. Whoever stopped it knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

const RUNNING: u8 = 0;
const STOPPED: u8 = 1;
const COMMITTED: u8 = 2;

/// Stops the threads of a pack or an unpack, whatever they wait for, and shows their progress.
///
/// Clones control the same work. A [`child`](Self::child) controls a part of it: it stops with its
/// parent, but not the other way round.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    state: AtomicU8,
    /// Who has to be woken by a stop.
    watchers: Mutex<Watchers>,
    /// Why the work could not go on, if a thread of it panicked.
    failure: Mutex<Option<String>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Watchers {
    weak: Vec<Weak<dyn Wake>>,
    /// Woken once, and kept until then.
    owned: Vec<Arc<dyn Wake>>,
    /// At this number the ones that are gone are removed.
    prune_at: usize,
}

/// Shared by a control and its children.
struct Progress {
    steps: AtomicU64,
    /// How many threads are in each stage.
    active: [AtomicUsize; Stage::ALL.len()],
}

/// A thread is in a stage until this is dropped.
pub struct Working(Arc<Progress>, Stage);

/// Stops the work when it is dropped, also by a panic.
pub struct StopOnDrop(Control);

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    pub fn new() -> Self {
        let active = std::array::from_fn(|_| AtomicUsize::new(0));
        Self::with(Arc::new(Progress { steps: AtomicU64::new(0), active }))
    }

    fn with(progress: Arc<Progress>) -> Self {
        Self(Arc::new(Shared {
            state: AtomicU8::new(RUNNING),
            watchers: Mutex::new(Watchers::default()),
            failure: Mutex::new(None),
            progress,
        }))
    }

    /// Controls a part of the work.
    pub fn child(&self) -> Self {
        let child = Self::with(self.0.progress.clone());
        let shared: Arc<dyn Wake> = child.0.clone();
        self.watch(Arc::downgrade(&shared));
        if self.is_stopped() {
            child.stop();
        }
        child
    }

    /// Wakes everything that waits for this work; from now on nothing waits. Returns false if the work
    /// was committed before.
    pub fn stop(&self) -> bool {
        self.0.stop()
    }

    pub fn is_stopped(&self) -> bool {
        self.0.state.load(Ordering::SeqCst) == STOPPED
    }

    /// An error once the work is stopped, for loops that do not wait.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_stopped() { Err(Stopped) } else { Ok(()) }
    }

    /// Decides that the work counts, unless it was stopped. It cannot be stopped any more after that.
    pub fn commit(&self) -> Result<(), Stopped> {
        let state = &self.0.state;
        match state.compare_exchange(RUNNING, COMMITTED, Ordering::SeqCst, Ordering::SeqCst) {
            Err(STOPPED) => Err(Stopped),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Stops the work because something in it broke that has no error of its own.
    pub fn fail(&self, reason: String) {
        lock(&self.0.failure).get_or_insert(reason);
        self.stop();
    }

    /// Why the work broke.
    pub fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }

    pub fn stop_on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }

    /// Has something woken by a stop for as long as it exists.
    ///
    /// It has to ask [`is_stopped`](Self::is_stopped) under the lock that it waits with.
    pub fn watch(&self, watcher: Weak<dyn Wake>) {
        let mut watchers = lock(&self.0.watchers);
        if watchers.weak.len() >= watchers.prune_at {
            watchers.weak.retain(|weak| weak.strong_count() > 0);
            watchers.prune_at = 2 * watchers.weak.len() + 16;
        }
        watchers.weak.push(watcher);
    }

    /// Has something woken by a stop, at once if that has happened.
    pub fn on_stop(&self, watcher: Arc<dyn Wake>) {
        lock(&self.0.watchers).owned.push(watcher);
        if self.is_stopped() {
            self.0.wake_all();
        }
    }

    /// Marks that this thread is in a stage.
    pub fn enter(&self, stage: Stage) -> Working {
        let progress = self.0.progress.clone();
        progress.active[stage as usize].fetch_add(1, Ordering::Relaxed);
        progress.steps.fetch_add(1, Ordering::Relaxed);
        Working(progress, stage)
    }

    /// Marks progress within a stage.
    pub fn step(&self) {
        self.0.progress.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Grows with whatever is done. If it stays the same, nothing happens.
    pub fn steps(&self) -> u64 {
        self.0.progress.steps.load(Ordering::Relaxed)
    }

    /// The stage that everything else waits for, if any thread is in one.
    pub fn stage(&self) -> Option<Stage> {
        let active = &self.0.progress.active;
        Stage::ALL.into_iter().find(|stage| active[*stage as usize].load(Ordering::Relaxed) > 0)
    }
}

impl Shared {
    fn stop(&self) -> bool {
        let state = &self.state;
        match state.compare_exchange(RUNNING, STOPPED, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                self.wake_all();
                true
            }
            Err(state) => state == STOPPED,
        }
    }

    fn wake_all(&self) {
        // Nothing is woken under the lock: a watcher that goes away may take it.
        let (weak, owned) = {
            let mut watchers = lock(&self.watchers);
            let weak: Vec<_> = watchers.weak.iter().filter_map(Weak::upgrade).collect();
            (weak, std::mem::take(&mut watchers.owned))
        };
        weak.iter().chain(&owned).for_each(|watcher| watcher.wake());
    }
}

impl Wake for Shared {
    fn wake(&self) {
        self.stop();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.active[self.1 as usize].fetch_sub(1, Ordering::Relaxed);
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A thread that panicked with a lock of these files left nothing half done under it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_and_not_the_other_way_round() {
        let parent = Control::new();
        let (first, second) = (parent.child(), parent.child());
        first.stop();
        assert!(first.is_stopped() && !parent.is_stopped() && !second.is_stopped());
        parent.stop();
        assert!(second.is_stopped() && parent.child().is_stopped());
    }

    #[test]
    fn what_is_committed_cannot_be_stopped_and_what_is_stopped_cannot_be_committed() {
        let control = Control::new();
        assert_eq!(control.commit(), Ok(()));
        assert!(!control.stop() && !control.is_stopped());
        let control = Control::new();
        assert!(control.stop() && control.stop());
        assert_eq!(control.commit(), Err(Stopped));
    }

    #[test]
    fn the_last_stage_that_is_busy_is_blamed() {
        let control = Control::new();
        assert_eq!(control.stage(), None);
        let download = control.enter(Stage::Download);
        let write = control.child().enter(Stage::Write);
        assert_eq!(control.stage(), Some(Stage::Write));
        let before = control.steps();
        drop(write);
        assert!(control.steps() > before);
        assert_eq!(control.stage(), Some(Stage::Download));
        drop(download);
        assert_eq!(control.stage(), None);
    }

    #[test]
    fn watchers_that_are_gone_are_forgotten() {
        struct Nothing;
        impl Wake for Nothing {
            fn wake(&self) {}
        }
        let control = Control::new();
        for _ in 0..1000 {
            let watcher: Arc<dyn Wake> = Arc::new(Nothing);
            control.watch(Arc::downgrade(&watcher));
        }
        assert!(lock(&control.0.watchers).weak.len() < 40);
    }
}
