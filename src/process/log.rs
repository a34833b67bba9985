//! Diagnostics of this program itself, for whoever has to explain a hang: `CI_LOG`.
//!
//! Off by default. `CI_LOG=debug` writes what drivers, stores and transfers do to the standard error, or to
//! the file that `CI_LOG_FILE` names. The value is a filter of tracing-subscriber, such as
//! `transfer=debug,ci::driver=trace`. No value of a variable, argument or credential is logged.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::time::SystemTime;

use super::masking;

const FILTER: &str = "CI_LOG";
const FILE: &str = "CI_LOG_FILE";

/// How many lines wait for a reader that is slow. What is more is lost: a run does not wait for its log.
const LINES_WAITING: usize = 16_384;

/// Writes what waits to be written when it is dropped, for a second at most.
pub struct Log(#[expect(dead_code, reason = "is there to be dropped")] Option<WorkerGuard>);

/// Whether a part of a filter is a level, or names what it is the level of.
fn is_directive(part: &str) -> bool {
    part.is_empty() || part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok()
}

/// Writes lines without secrets, each of which comes in one piece.
struct Masked(File);

impl Write for Masked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line).map(masking::text) {
            Ok(Cow::Owned(masked)) => self.0.write_all(masked.as_bytes())?,
            Ok(Cow::Borrowed(_)) | Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts to log if the environment asks for that. The error says what is wrong with its variables.
pub fn start() -> Result<Log, String> {
    let Some(text) = std::env::var(FILTER).ok().filter(|text| !text.is_empty()) else {
        return Ok(Log(None));
    };
    let expected = "expected a filter such as `debug` or `transfer=debug`";
    // The parser takes an unknown word for the name of a module.
    if let Some(word) = text.split(',').map(str::trim).find(|part| !is_directive(part)) {
        return Err(format!("invalid `{FILTER}`: {expected}, got `{word}`"));
    }
    let filter = EnvFilter::builder()
        .parse(&text)
        .map_err(|error| format!("invalid `{FILTER}`: {expected}: {error}"))?;
    let failed = |error| format!("cannot start the log that `{FILTER}` asks for: {error}");
    let file = match std::env::var_os(FILE).filter(|path| !path.is_empty()) {
        // Not through the standard library, whose lock would make others wait for a reader, too.
        None => io::stderr().as_fd().try_clone_to_owned().map(File::from).map_err(failed)?,
        Some(path) => File::options().append(true).create(true).open(&path).map_err(|error| {
            format!("cannot open `{}`, which `{FILE}` names: {error}", path.display())
        })?,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING)
        .lossy(true)
        .finish(Masked(file));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_ansi(false)
        // The standard error may be what fails.
        .log_internal_errors(false)
        .with_writer(writer)
        .try_init()
        .map_err(|error| failed(io::Error::other(error)))?;
    Ok(Log(Some(guard)))
}
