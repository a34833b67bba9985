//! Runs pipelines written in TypeScript, JavaScript or Concourse-style YAML.
//!
//! The way of a run: [`cli`] parses the command line and calls [`run`], which starts a driver from
//! [`driver`], hosts the pipeline in [`script`] and shows what happens through [`report`]. [`volume`]
//! keeps volumes from run to run in a [`store`], as an [`archive`] each.
//! ARCHITECTURE.md tells more.

pub mod cli;
pub mod context;
pub mod driver;
pub mod event;
pub mod pipeline;
pub mod process;
pub mod project;
pub mod report;
pub mod run;
pub mod script;
pub mod secret;
mod shell;
pub mod stop;
pub mod task_runner;
pub mod volume;

pub use spec::task;
use spec::{duration, suggest};
