//! The command line: one file per subcommand, and the one place that prints an error.

mod attended;
mod cache;
mod cache_args;
mod check;
mod mistake;
mod output;
mod prune;
mod resource;
mod run;
mod schema;
mod secrets;
mod transpile;
mod vars;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Error;
use clap::{Parser, Subcommand};
use diagnostic::{Diagnostic, printable};

use crate::process::{hidden, log, masking};

/// Runs CI pipelines written in TypeScript, JavaScript or Concourse-style YAML.
#[derive(Parser)]
#[command(name = "ci", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Cache(cache::Cache),
    Prune(prune::Prune),
    Check(check::Check),
    Transpile(transpile::Transpile),
    Schema(schema::Schema),
    #[command(hide = true)]
    Resource(resource::Resource),
}

/// Does what the command line says, and returns how it went.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse_from(cache_args::joined(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return mistake::explain(&error),
    };
    let secret_variables = match &cli.command {
        Command::Run(command) => command.secret_variables(),
        Command::Check(command) => command.secret_variables(),
        _ => Vec::new(),
    };
    let arguments = hidden::hide(&secret_variables);
    let _log = match log::start() {
        Ok(log) => log,
        Err(message) => {
            print(Problem::Other(Error::msg(message)));
            return ExitCode::from(2);
        }
    };
    let result = match cli.command {
        Command::Run(command) => command.execute(arguments),
        Command::Cache(command) => command.execute(),
        Command::Prune(command) => command.execute(),
        Command::Check(command) => command.execute(),
        Command::Transpile(command) => command.execute(),
        Command::Schema(command) => command.execute(),
        Command::Resource(command) => command.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print(failure.problem);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Whether a command line does what it says.
#[cfg(test)]
pub fn succeeds(args: &[&str]) -> bool {
    match Cli::try_parse_from(args).unwrap().command {
        Command::Run(command) => command.execute(Vec::new()).is_ok(),
        Command::Prune(command) => command.execute().is_ok(),
        _ => unreachable!("no test asks for it"),
    }
}

/// What went wrong, and the exit code that says so.
struct Failure {
    problem: Problem,
    exit_code: u8,
}

impl Failure {
    /// The command line or the pipeline's file is wrong.
    fn invalid(diagnostic: Box<Diagnostic>) -> Self {
        Self { problem: Problem::Diagnostic(diagnostic), exit_code: 2 }
    }

    /// The same, with everything that is wrong.
    fn diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        Self { problem: Problem::Diagnostics(diagnostics), exit_code: 2 }
    }
}

enum Problem {
    /// With a place in a file, or help.
    Diagnostic(Box<Diagnostic>),
    /// Everything that is wrong with a file.
    Diagnostics(Vec<Diagnostic>),
    /// Somebody else has told it.
    Told,
    /// Anything else, with its causes.
    Other(Error),
}

fn print(problem: Problem) {
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let text = match problem {
        Problem::Diagnostic(mut diagnostic) => {
            masking::hide_in(&mut diagnostic);
            diagnostic.render(color)
        }
        Problem::Diagnostics(mut diagnostics) => {
            diagnostics.iter_mut().for_each(masking::hide_in);
            let texts: Vec<String> =
                diagnostics.iter().map(|diagnostic| diagnostic.render(color)).collect();
            texts.join("\n\n")
        }
        Problem::Told => return,
        Problem::Other(error) => {
            let style = Style::new().bold().fg_color(Some(AnsiColor::BrightRed.into()));
            format!("{style}error{style:#}: {}", printable(&format!("{error:#}")))
        }
    };
    let text = masking::text(&text);
    // Nobody is left to tell when the error output is closed.
    _ = std::io::Write::write_all(
        &mut anstream::AutoStream::auto(std::io::stderr()),
        format!("{text}\n").as_bytes(),
    );
}

/// Tells warnings and notices about a file.
fn remark(mut warnings: Vec<Diagnostic>, notices: &[String]) {
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    warnings.iter_mut().for_each(masking::hide_in);
    let warnings = warnings.iter().map(|warning| warning.render_warning(color));
    let notices = notices.iter().map(|notice| format!("notice: {}", printable(notice)));
    let text: String = warnings.chain(notices).map(|text| format!("{text}\n")).collect();
    _ = std::io::Write::write_all(
        &mut anstream::AutoStream::auto(std::io::stderr()),
        masking::text(&text).as_bytes(),
    );
}

/// Writes to the standard output. Who closes it has seen enough.
fn write_out(text: &str) -> Result<(), Failure> {
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let error = Error::new(error).context("cannot write to the standard output");
            Err(Failure { problem: Problem::Other(error), exit_code: 3 })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::CommandFactory;

    use super::Cli;

    /// Two options with one id would get each other's values.
    #[test]
    fn no_two_options_of_a_command_share_an_id() {
        let mut open = vec![Cli::command()];
        while let Some(command) = open.pop() {
            let mut ids = HashSet::new();
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(ids.insert(id.clone()), "`{id}` of `{}`", command.get_name());
            }
            open.extend(command.get_subcommands().cloned());
        }
    }
}
