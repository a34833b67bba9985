//! Threads, queues and memory of one archive, and how its work is stopped.

pub mod budget;
pub mod control;
pub mod ordered;
pub mod queue;
pub mod sync;
pub mod threads;
