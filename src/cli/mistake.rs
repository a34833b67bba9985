//! What is wrong with a command line: clap's words, and for the most common mistake our own.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use diagnostic::Diagnostic;

use super::{Problem, print};
use spec::masked;

/// Prints the error, or the help that was asked for. The exit code is 2 for an error.
pub fn explain(error: &clap::Error) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match without_run(error.kind(), &arguments) {
        Some(diagnostic) => print(Problem::Diagnostic(Box::new(diagnostic))),
        // Nobody is left to tell when the output is closed.
        None => _ = error.print(),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Somebody wrote `ci pipeline.ts`.
fn without_run(kind: ErrorKind, arguments: &[OsString]) -> Option<Diagnostic> {
    if !matches!(kind, ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument) {
        return None;
    }
    // Another word in its place is a misspelt subcommand, for which clap has a suggestion.
    let first = arguments.first()?;
    if !is_pipeline(Path::new(first)) && !first.to_string_lossy().starts_with('-') {
        return None;
    }
    let file = arguments.iter().find(|argument| is_pipeline(Path::new(argument)))?;
    let mut command = "ci run".to_owned();
    for argument in arguments {
        command.push(' ');
        let argument = argument.to_string_lossy();
        // An address may hold credentials.
        match argument.contains("//") || argument.to_ascii_lowercase().contains("%2f%2f") {
            true => command.push_str(&masked(&argument)),
            false => command.push_str(&argument),
        }
    }
    let file = file.to_string_lossy();
    Some(
        Diagnostic::new(format!("`{file}` is a file, not a subcommand"))
            .help(format!("did you mean `{command}`?")),
    )
}

fn is_pipeline(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str());
    matches!(end, Some("ts" | "mts" | "js" | "mjs" | "yml" | "yaml"))
}
