//! The synchronisation of archives as a model checker runs it: under schedules that a real machine hardly
//! ever has.

pub mod sync {
    pub use shuttle::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

#[path = "../../src/archive/budget.rs"]
pub mod budget;
#[path = "../../src/archive/control.rs"]
pub mod control;
#[path = "../../src/archive/ordered.rs"]
pub mod ordered;
#[path = "../../src/archive/queue.rs"]
pub mod queue;
