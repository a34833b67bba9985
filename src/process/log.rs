//! Diagnostics of this program itself, for whoever has to explain a hang: `CI_LOG`.
//!
//! Off by default. `CI_LOG=debug` writes what drivers, stores and transfers do to the standard error, or to
//! the file that `CI_LOG_FILE` names. The value is a filter of tracing-subscriber, such as
//! `transfer=debug,ci::driver=trace`. No value of a variable, argument or credential is logged.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

const FILTER: &str = "CI_LOG";
const FILE: &str = "CI_LOG_FILE";

/// Starts to log if the environment asks for that. The error says what is wrong with its variables.
pub fn start() -> Result<(), String> {
    let Ok(text) = std::env::var(FILTER) else { return Ok(()) };
    if text.is_empty() {
        return Ok(());
    }
    let filter = EnvFilter::builder().parse(&text).map_err(|error| {
        format!(
            "invalid `{FILTER}`: expected a filter such as `debug` or `transfer=debug`: {error}"
        )
    })?;
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(SystemTime).with_ansi(false);
    let started = match std::env::var_os(FILE).filter(|path| !path.is_empty()) {
        None => log.with_writer(io::stderr).try_init(),
        Some(path) => {
            let file = File::options().append(true).create(true).open(&path);
            let file = file.map_err(|error| {
                format!("cannot open `{}`, which `{FILE}` names: {error}", path.display())
            })?;
            log.with_writer(Mutex::new(file)).try_init()
        }
    };
    started.map_err(|error| format!("cannot start the log that `{FILTER}` asks for: {error}"))
}
