//! Tests that run the real binary. One binary for all of them, since each one links V8.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod archive;
mod cache;
mod cache_config;
mod cache_faults;
mod cache_store;
mod cli;
mod conformance;
mod docker;
mod ending;
mod examples;
mod isolate;
mod json;
mod native;
mod proxy;
mod sandboxes;
mod scenarios;
mod shells;
mod store;
mod support;
mod terminal;
mod transpile;
mod yaml;
