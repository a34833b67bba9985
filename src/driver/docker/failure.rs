//! What the engine says when it does not do something.
//!
//! That is text of somebody else, which a registry or a container may have chosen. It reaches a user's
//! terminal only through [`printable`].

use bollard::errors::Error;

use crate::driver::DriverError;

/// An error of the engine as one of the driver's. A request that the engine does not accept is the
/// pipeline's to change; everything else is something that failed.
pub fn failed(context: impl Into<String>, error: Error) -> DriverError {
    let context = context.into();
    match error {
        Error::DockerResponseServerError { status_code: 400..500, message } => {
            DriverError::Refused(format!("{context}: {}", printable(&message)))
        }
        Error::DockerResponseServerError { message, .. } => {
            DriverError::Io { context, source: std::io::Error::other(printable(&message)) }
        }
        Error::IOError { err } => DriverError::Io { context, source: err },
        Error::RequestTimeoutError => DriverError::Io {
            context,
            source: std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "the engine has not answered in time",
            ),
        },
        error => {
            let source = std::io::Error::new(kind(&error), explained(&error));
            DriverError::Io { context, source }
        }
    }
}

/// What kind of failure of the connection is behind an error.
fn kind(error: &(dyn std::error::Error + 'static)) -> std::io::ErrorKind {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>())
        .map_or(std::io::ErrorKind::Other, std::io::Error::kind)
}

/// The engine's own words.
pub fn words(error: Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => printable(&message),
        Error::DockerStreamError { error } => printable(&error),
        error => explained(&error),
    }
}

/// The longest text of somebody else that an error shows, in characters.
const LONGEST: usize = 4096;

/// A text of somebody else without what a terminal would take for a command, and not too long.
pub fn printable(text: &str) -> String {
    let text = text.trim();
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\t' => shown.push(c),
            // The last of a line's end.
            '\r' => {}
            // Some of them turn the order of what follows.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                shown.extend(c.escape_default());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The innermost cause, which is what a user can act on.
pub fn explained(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    printable(&cause.to_string())
}

/// Whether a container could not be started for want of its user.
pub fn no_such_user(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("unable to find user") || text.contains("unable to find group")
}

/// Whether a container has no working directory, since something else is there.
pub fn is_no_directory(error: &Error) -> bool {
    let text = error.to_string();
    let about_directory =
        text.contains("Cannot mkdir") || text.contains("lstat") || text.contains("chdir to cwd");
    about_directory && text.contains("not a directory")
}

/// Whether something was to be made in what cannot be changed.
pub fn is_read_only(error: &Error) -> bool {
    error.to_string().contains("read-only file system")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_says_commands_no_terminal() {
        assert_eq!(
            printable(" one\r\ntwo\t\u{1b}[2Jx\u{202e}y\u{9b}z \n"),
            "one\ntwo\t\\u{1b}[2Jx\\u{202e}y\\u{9b}z"
        );
        let long = printable(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
    }
}
