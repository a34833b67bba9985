//! The command line: one file per subcommand, and the one place that prints an error.

mod cache;
mod run;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Parser, Subcommand};

use crate::diagnostic::Diagnostic;

/// Runs CI pipelines written in TypeScript or JavaScript.
#[derive(Parser)]
#[command(name = "ci", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Cache(cache::Cache),
}

/// Does what the command line says, and returns how it went.
pub fn run() -> ExitCode {
    // clap prints its own errors and ends the process with 2.
    let result = match Cli::parse().command {
        Command::Run(command) => command.execute(),
        Command::Cache(command) => command.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print(&failure.problem);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// What went wrong, and the exit code that says so.
struct Failure {
    problem: Problem,
    exit_code: u8,
}

enum Problem {
    /// With a place in a file, or help.
    Diagnostic(Box<Diagnostic>),
    Message(String),
}

fn print(problem: &Problem) {
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let text = match problem {
        Problem::Diagnostic(diagnostic) => diagnostic.render(color),
        Problem::Message(message) => {
            let style = Style::new().bold().fg_color(Some(AnsiColor::BrightRed.into()));
            format!("{style}error{style:#}: {message}")
        }
    };
    // Nobody is left to tell when the error output is closed.
    _ = std::io::Write::write_all(
        &mut anstream::AutoStream::auto(std::io::stderr()),
        format!("{text}\n").as_bytes(),
    );
}
