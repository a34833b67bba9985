//! The synchronisation of archives as a model checker runs it: under schedules that a real machine hardly
//! ever has.

pub mod sync {
    pub use shuttle::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

#[path = "../../crates/archive/src/flow/budget.rs"]
pub mod budget;
#[path = "../../crates/archive/src/flow/control.rs"]
pub mod control;
#[path = "../../crates/archive/src/flow/ordered.rs"]
pub mod ordered;
#[path = "../../crates/archive/src/flow/queue.rs"]
pub mod queue;
