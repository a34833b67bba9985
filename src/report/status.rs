//! Lines at the bottom of a terminal that are drawn over and over.

use unicode_width::UnicodeWidthStr;

/// What is drawn at the moment, with the cursor at the end of its last line.
#[derive(Default)]
pub struct Status {
    lines: Vec<String>,
}

impl Status {
    /// Puts before `out` what removes the lines from a terminal of this width.
    pub fn clear(&mut self, width: usize, out: &mut Vec<u8>) {
        if self.lines.is_empty() {
            return;
        }
        // A terminal that was made narrower has wrapped the lines.
        let rows = |line: &String| line.width().div_ceil(width.max(1)).max(1);
        let up = self.lines.drain(..).map(|line| rows(&line)).sum::<usize>() - 1;
        // Up by 0 would be up by 1.
        let up = if up > 0 { format!("\x1b[{up}A") } else { String::new() };
        let erase = format!("\r{up}\x1b[J");
        out.splice(0..0, erase.into_bytes());
    }

    /// Appends the lines to `out`, each made beautiful by `paint`.
    pub fn draw(&mut self, lines: Vec<String>, paint: impl Fn(&str) -> String, out: &mut Vec<u8>) {
        let text: Vec<_> = lines.iter().map(|line| paint(line)).collect();
        out.extend_from_slice(text.join("\n").as_bytes());
        self.lines = lines;
    }
}
