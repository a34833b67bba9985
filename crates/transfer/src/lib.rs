//! A volume's way between a store and a directory, as a value.
//!
//! A [`TransferJob`] says what is to be moved and by which rules. [`execute`] moves it, and returns a
//! [`TransferReport`] or a [`TransferError`]. All three can be serialized, so that the bytes are moved where
//! the volume is, which may be another process or another machine. What to restore, whether to persist and
//! what a failure means is the caller's to decide.

mod content;
mod error;
mod execute;
mod execution;
mod job;
mod persist;
mod report;
mod restore;
mod streams;
mod tree;
mod volume;
mod watchdog;

pub use error::TransferError;
pub use execute::execute;
pub use execution::Execution;
pub use job::{Candidate, DIGEST_VERSION, Deadlines, Format, Operation, TransferJob};
pub use report::{Miss, Outcome, TransferReport, TransferUpdate};
pub use streams::Downloaded;
pub use tree::{fetch_tree, send_tree};
pub use volume::{LocalDirectory, VolumeAccess, VolumeArchive, VolumeStream};
pub use watchdog::Watchdog;
