//! What the engine says when it does not do something.

use bollard::errors::Error;

use crate::driver::DriverError;

/// An error of the engine as one of the driver's. A request that the engine does not accept is the
/// pipeline's to change; everything else is something that failed.
pub fn failed(context: impl Into<String>, error: Error) -> DriverError {
    let context = context.into();
    match error {
        Error::DockerResponseServerError { status_code: 400..500, message } => {
            DriverError::Refused(format!("{context}: {}", message.trim()))
        }
        Error::DockerResponseServerError { message, .. } => {
            DriverError::Io { context, source: std::io::Error::other(message.trim().to_owned()) }
        }
        Error::IOError { err } => DriverError::Io { context, source: err },
        error => DriverError::Io { context, source: std::io::Error::other(explained(&error)) },
    }
}

/// The engine's own words.
pub fn words(error: Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        error => explained(&error),
    }
}

/// The innermost cause, which is what a user can act on.
pub fn explained(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether a container could not be started for want of its user.
pub fn no_such_user(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("unable to find user") || text.contains("unable to find group")
}

pub fn is_missing(error: &Error) -> bool {
    has_status(error, 404)
}

/// Whether somebody else is doing the same at this moment.
pub fn is_conflict(error: &Error) -> bool {
    has_status(error, 409)
}

fn has_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}
