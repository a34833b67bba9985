//! The isolate that hosts a pipeline.

mod buffers;
mod engine;
pub mod error;
mod extension;
mod heap;
mod loader;
mod ops;
mod packages;
mod transpile;

pub use engine::{Engine, EngineOptions, check};
pub use error::ScriptError;
