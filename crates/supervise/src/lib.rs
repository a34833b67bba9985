//! Processes of this machine: started, watched over and ended.
//!
//! ```text
//! ci ── supervisor ─┬─ reaper ── a task's command ── what it starts
//!                   └─ reaper ── …
//! ```
//!
//! [`Supervision`] is the caller's side. The caller's program has to call [`run_if_asked`] first of all in
//! its `main`: the supervisor is the same program, executed anew.

mod client;
mod descendants;
mod fixtures;
mod launch;
mod mount;
mod process;
mod reaper;
mod secrets;
pub mod start_error;
mod supervisor;
pub mod wire;

pub use client::{Channel, Deadline, LaunchError, Pursuit, Supervision, reaper_ended};
pub use secrets::RUN;
pub use supervisor::{SUPERVISOR_ARG, run_if_asked};
