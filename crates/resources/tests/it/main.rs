//! Each action of each type, by the example program, with real repositories.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod fields;
mod files;
mod git_check;
mod git_get;
mod git_put;
mod git_secrets;
mod git_submodules;
mod git_tags;
mod mock;
mod registry_image;
mod semver;
mod time;
mod world;
