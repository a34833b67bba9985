//! This process: what it may use, what the system shows of it, and how it ends when it panics.

pub mod allocator;
pub mod hidden;
pub mod limits;
pub mod log;
pub mod masking;
pub mod memory;
pub mod panic;
pub mod scratch;
pub mod state;
pub mod terminal;
