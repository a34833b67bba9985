//! Each action of each type, by the example program, with real repositories.

mod fields;
mod files;
mod git_check;
mod git_get;
mod git_put;
mod git_secrets;
mod git_submodules;
mod git_tags;
mod mock;
mod semver;
mod time;
mod world;
