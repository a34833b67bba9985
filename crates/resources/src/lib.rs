//! The resource types that need no image, by the protocol of Concourse.
//!
//! A type has three actions: `check` finds versions, `in` fetches one and `out` makes one. An action reads a request
//! as JSON and writes a response as JSON (<https://concourse-ci.org/docs/resource-types/implementing/>).
//!
//! [`execute`] carries out one action. [`fields`] says which fields a type knows, and [`check_fields`] finds what is
//! wrong with a configuration before anything runs: a field that is not supported is an error and is never ignored.
//!
//! What differs from the images of Concourse is said in `docs/resources.md`.

mod destination;
mod error;
mod fields;
mod file;
mod git;
mod kinds;
mod log;
mod memory;
mod mock;
mod program;
mod protocol;
mod registry_image;
mod secrets;
mod semver;
mod time;
mod values;

use std::io::{Read, Write};
use std::path::Path;

pub use error::ResourceError;
pub use fields::{Field, Fields, Place, Problem, Shape, Support, check_fields};
pub use kinds::{fields, names};
pub use protocol::Action;

use log::Log;
use protocol::{Job, Request, Response};

/// Carries out one action of a resource type.
///
/// `directory` is where `in` puts the files and where `out` finds the artifacts; both need it. `check` uses it for
/// temporary files; without one it uses the system's directory for these. The request is the protocol's JSON object
/// with `source`, `version` and `params`. The response is written once, whole, and only on success. `log` takes
/// lines for people as they come. No secret of the source reaches the log or an error.
///
/// Secrets are handed to programs through `/proc/PID/fd` of this process, so it has to stay dumpable.
pub fn execute(
    kind: &str,
    action: Action,
    directory: Option<&Path>,
    request: &mut dyn Read,
    response: &mut dyn Write,
    log: &mut dyn Write,
) -> Result<(), ResourceError> {
    let known = kinds::find(kind).ok_or_else(|| ResourceError::unknown_type(kind))?;
    let request = Request::read(request)?;
    let secrets = secrets::of(known.fields, &request);
    let log = Log::new(log, secrets.clone());
    let answer = carry_out(known, action, directory, &request, &log);
    let answer = answer.map_err(|error| error.masked(&secrets))?;
    answer.write(response)
}

fn carry_out<'a>(
    kind: &kinds::Kind,
    action: Action,
    directory: Option<&Path>,
    request: &'a Request,
    log: &'a Log<'a>,
) -> Result<Response, ResourceError> {
    let (get, put) = match action {
        Action::Check => (None, None),
        Action::In => (Some(&request.params), None),
        Action::Out => (None, Some(&request.params)),
    };
    let (notices, errors): (Vec<Problem>, Vec<Problem>) =
        fields::problems(kind, Some(&request.source), get, put)
            .into_iter()
            .partition(|problem| problem.is_notice);
    for notice in notices {
        log.line(&notice.to_string());
    }
    if !errors.is_empty() {
        return Err(ResourceError::Fields(errors));
    }
    let job = Job::new(action, directory, request, log)?;
    (kind.run)(&job)
}
