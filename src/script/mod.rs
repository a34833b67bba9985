//! The isolate that hosts a pipeline.

mod buffers;
mod engine;
mod entry;
pub mod error;
mod exports;
mod extension;
mod guard;
mod heap;
mod loader;
mod module_problem;
mod ops;
mod packages;
mod project;
mod settled;
mod shown_path;
mod transpile;
pub mod transpiler;

pub use engine::{Engine, EngineOptions, check};
pub use error::ScriptError;
