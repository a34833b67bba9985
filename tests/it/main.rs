//! Tests that run the real binary. One binary for all of them, since each one links V8.

mod cli;
mod conformance;
mod ending;
mod examples;
mod json;
mod native;
mod scenarios;
mod support;
