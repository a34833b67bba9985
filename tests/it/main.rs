//! Tests that run the real binary. One binary for all of them, since each one links V8.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[macro_use]
mod contract;

mod cache;
mod cache_commands;
mod cache_faults;
mod cache_foreign;
mod cache_outage;
mod cache_ownership;
mod cache_replacing;
mod cache_retry;
mod cache_stall;
mod cli;
mod conformance;
mod diagnostics;
mod docker;
mod driving;
mod dsn;
mod ending;
mod examples;
mod interruptions;
mod isolate;
mod isolate_limits;
mod json;
mod json_run;
mod kept_sources;
mod local_cache;
mod local_cache_size;
mod log;
mod mounts;
mod native;
mod panics;
mod phases;
mod project_files;
mod sandboxes;
mod scenarios;
mod script;
mod secrets;
mod settling;
mod shells;
mod structure;
mod support;
mod task_secrets;
mod terminal;
mod transpile;
mod volumes;
mod yaml;
mod yaml_fail_fast;
mod yaml_input;
mod yaml_limits;
mod yaml_local;
