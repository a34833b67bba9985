//! The colours of the output.

use anstyle::{AnsiColor, Style};

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const NOTICE: Style = AnsiColor::Yellow.on_default();
pub const QUIET: Style = Style::new().dimmed();

/// Ends what a task has coloured.
pub const RESET: &[u8] = b"\x1b[0m";

/// Red is left to failures.
const TASKS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightGreen,
];

/// A task's style: the same name has the same colour in every run.
pub fn task(name: &str) -> Style {
    // FNV-1a: the standard library's hash may differ between releases.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The high bits are the better mixed ones.
    let index = (hash >> 32) % TASKS.len() as u64;
    TASKS[usize::try_from(index).unwrap_or(0)].on_default()
}

/// Colours text or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub color: bool,
}

impl Paint {
    pub fn text(self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
    /// Lines that each have a style, with their ends.
    pub fn lines(self, lines: impl Iterator<Item = (String, Style)>) -> String {
        lines.map(|(line, style)| self.text(style, &line) + "\n").collect()
    }
}
