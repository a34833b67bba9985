//! Commits of a git repository, by the `git` program.
//!
//! What the fields mean is what they mean for <https://github.com/concourse/git-resource>. All is done by starting
//! `git` with arguments, never by a shell with text of the configuration in it. Secrets go through files in memory.

mod check;
mod clone;
mod commits;
mod config;
mod credentials;
mod environment;
mod fields;
mod files;
mod get;
pub mod history;
mod lfs;
mod merge;
mod metadata;
mod printf;
pub mod push;
mod put;
mod reason;
mod refs;
pub mod remote;
mod runner;
mod signature;
mod source;
mod ssh;
mod submodules;
mod tags;
mod uri;

use serde_json::Value;

use crate::error::ResourceError;
use crate::fields::Place;
use crate::kinds::{Invalid, Kind};
use crate::protocol::{Action, Job, Response};
use crate::values::Object;

pub use environment::Environment;
pub use runner::{Git, GitFailure};
pub use source::Source;

pub const KIND: Kind = Kind { name: "git", fields: &fields::FIELDS, validate, run };

fn run(job: &Job<'_>) -> Result<Response, ResourceError> {
    let source = Source::parse(&job.source)?;
    match job.action {
        Action::Check => check::check(job, &source),
        Action::In => get::get(job, &source),
        Action::Out => put::put(job, &source),
    }
}

fn validate(source: &Value, get: Option<&Value>, put: Option<&Value>) -> Result<(), Invalid> {
    let at = |place: Place| move |error: ResourceError| (place, error);
    let source = Object::new("source", source).map_err(at(Place::Source))?;
    let source = Source::parse(&source).map_err(at(Place::Source))?;
    if let Some(get) = get {
        let get = Object::new("params", get).map_err(at(Place::GetParams))?;
        get::Params::parse(&get).map_err(at(Place::GetParams))?;
    }
    if let Some(put) = put {
        let put = Object::new("params", put).map_err(at(Place::PutParams))?;
        put::Params::parse(&put, &source).map_err(at(Place::PutParams))?;
    }
    Ok(())
}
