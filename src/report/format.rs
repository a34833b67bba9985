//! Which format the user gets.

use std::ffi::OsString;
use std::io::IsTerminal;

/// The values of `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// `tty` on a terminal, `plain` elsewhere and where `CI` is set.
    #[default]
    Auto,
    /// Lines of text, and below them what is running.
    Tty,
    /// Lines of text.
    Plain,
    /// One event a line, for programs.
    Json,
}

/// How a run is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Tty { color: bool },
    Plain { color: bool },
    Json,
}

impl Format {
    /// The format for the standard output of this process.
    ///
    /// Colour follows <https://no-color.org> and <https://bixense.com/clicolors>: `NO_COLOR`
    /// turns it off, otherwise `CLICOLOR_FORCE` turns it on, otherwise a terminal has it unless
    /// `CLICOLOR` is `0` or `TERM` is `dumb`.
    pub fn choose(requested: Output) -> Self {
        choose(requested, std::io::stdout().is_terminal(), |name| std::env::var_os(name))
    }
}

fn choose(
    requested: Output,
    terminal: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Format {
    let set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is = |name, value| variable(name).is_some_and(|found| found == value);

    let capable = terminal && !is("TERM", "dumb");
    let color = if set("NO_COLOR") {
        false
    } else if set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") {
        true
    } else {
        capable && !is("CLICOLOR", "0")
    };
    match requested {
        Output::Json => Format::Json,
        Output::Tty => Format::Tty { color },
        Output::Auto if capable && !set("CI") => Format::Tty { color },
        Output::Auto | Output::Plain => Format::Plain { color },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(requested: Output, terminal: bool, variables: &[(&str, &str)]) -> Format {
        choose(requested, terminal, |name| {
            let (_, value) = variables.iter().find(|(found, _)| *found == name)?;
            Some(value.into())
        })
    }

    #[test]
    fn auto_draws_only_where_someone_looks() {
        let auto = |terminal, variables: &[(&str, &str)]| chosen(Output::Auto, terminal, variables);
        assert_eq!(auto(true, &[]), Format::Tty { color: true });
        assert_eq!(auto(false, &[]), Format::Plain { color: false });
        assert_eq!(auto(true, &[("CI", "true")]), Format::Plain { color: true });
        assert_eq!(auto(true, &[("TERM", "dumb")]), Format::Plain { color: false });
    }

    #[test]
    fn color_can_be_refused_and_forced() {
        let plain =
            |terminal, variables: &[(&str, &str)]| chosen(Output::Plain, terminal, variables);
        let force = ("CLICOLOR_FORCE", "1");
        assert_eq!(plain(true, &[]), Format::Plain { color: true });
        assert_eq!(plain(false, &[force]), Format::Plain { color: true });
        assert_eq!(plain(true, &[("NO_COLOR", "1"), force]), Format::Plain { color: false });
        assert_eq!(plain(true, &[("NO_COLOR", "")]), Format::Plain { color: true });
        assert_eq!(plain(true, &[("CLICOLOR", "0")]), Format::Plain { color: false });
        assert_eq!(chosen(Output::Auto, true, &[("NO_COLOR", "1")]), Format::Tty { color: false });
    }

    #[test]
    fn what_was_asked_for_wins() {
        let ci = [("CI", "true")];
        assert_eq!(chosen(Output::Json, true, &[]), Format::Json);
        assert_eq!(chosen(Output::Tty, true, &ci), Format::Tty { color: true });
    }
}
