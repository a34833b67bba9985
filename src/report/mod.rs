//! From [`RunEvent`](crate::event::RunEvent)s to what a user sees.
//!
//! [`Reporter`] reads the events on a thread of its own and writes them to the standard output in
//! one of three [`Format`]s:
//!
//! - **plain**: lines of text, for logs;
//! - **tty**: the same lines, and below them what is running at the moment;
//! - **json**: one event a line, described in `docs/events.md`.
//!
//! In text every line that a task wrote starts with `[` and the task's name. The runner's own
//! lines never do, so that no task can imitate them: `* ` opens good news about a task, `! ` bad
//! news, `notice: ` what else the user should know, `warning: ` what went wrong without ending the
//! run. What the pipeline itself writes with
//! `console` stands alone.
//!
//! ```text
//! * [build] started: make -j2
//! [build] cc -o main main.c
//! ! [build] failed in 1.2s: exit code 2
//!
//! TASK   STATUS   CODE  DURATION
//! build  failure  2     1.2s
//!
//! run failed in 1.3s: 1 task, 1 failed
//! ```
//!
//! The channel of events is bounded: when the reader of the output is slow, tasks wait.

mod cache;
mod command;
mod count;
mod duration;
mod escape;
mod format;
mod json;
mod label;
mod lines;
mod plain;
mod prefix;
mod render;
mod reporter;
mod row;
mod sink;
mod size;
mod status;
mod style;
mod summary;
mod table;
mod tty;

pub use count::counted;
pub use duration::human;
pub use format::{Format, Output};
pub use json::json_text;
pub use reporter::{ReportError, Reporter};
pub use size::human_size;
pub use table::lines as table;
