//! What the synchronisation of archives is made of.
//!
//! `control`, `queue`, `ordered` and `budget` take their primitives from here alone. The crate in `models/`
//! compiles the same files against a model checker's primitives.

pub use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
pub use std::sync::{Condvar, Mutex, MutexGuard};
