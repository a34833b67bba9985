//! Lines out of the chunks of text in which a task's output arrives.
//!
//! A line holds what a terminal would show of it at its end: what was written over after a carriage
//! return, a backspace or a sequence that moves within the line is gone, and the rest stays. What
//! moves to other lines or changes the terminal is dropped. Of the control characters only the tab is
//! left. Colours stay if they are wanted and end with each line.

use std::sync::Arc;

use memchr::{memchr, memrchr};

use super::escape::{Escape, Step};
use super::prefix::Prefix;
use super::row::Row;

/// Longest line in bytes; a longer one is broken.
const MAX_LINE: usize = 64 * 1024;

/// Most bytes of colour sequences that are repeated on the next line.
const MAX_COLORS: usize = 128;

/// One stream of one task.
pub struct Lines {
    color: bool,
    /// A longer line is broken, in bytes.
    longest: usize,
    prefix: Prefix,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether `line` holds text, and not just colours.
    started: bool,
    /// A carriage return came: the next text goes over the line, unless it is a line end.
    returned: bool,
    /// The line, once something in it was written over; `line` is empty then.
    row: Option<Row>,
    escape: Escape,
    /// The colours that are set, as escape sequences.
    colors: Vec<u8>,
}

impl Lines {
    pub fn new(prefix: Prefix, color: bool) -> Self {
        Self {
            color,
            longest: MAX_LINE,
            prefix,
            line: Vec::new(),
            started: false,
            returned: false,
            row: None,
            escape: Escape::default(),
            colors: Vec::new(),
        }
    }

    /// Appends the lines of a text that is complete; none is broken.
    pub fn all(text: &str, color: bool, out: &mut Vec<u8>) {
        let mut lines = Self::new(Prefix::default(), color);
        lines.longest = usize::MAX;
        lines.push(text, out);
        lines.end(out);
    }

    /// Appends to `out` the lines that `text` completes.
    pub fn push(&mut self, text: &str, out: &mut Vec<u8>) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            // No stretch is longer than a line may be.
            let stretch;
            (stretch, rest) = rest.split_at(fitting(rest, MAX_LINE));
            let special = self.escape.is_open()
                || self.returned
                || self.row.is_some()
                || !self.colors.is_empty();
            if special || has_controls(stretch) {
                self.push_any(stretch, out);
            } else {
                self.push_clean(stretch, out);
            }
        }
    }

    /// Appends the line that no line end completed, if there is one.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        // Of a progress bar that has removed itself nothing is left to show.
        if self.started && self.row.as_ref().is_none_or(|row| row.len() > 0) {
            self.end_line(out);
        }
    }

    /// Text whose only control characters are line ends and tabs.
    fn push_clean(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let Some(last) = memrchr(b'\n', text) else {
            return self.hold(text, out);
        };
        let (mut whole, tail) = text.split_at(last + 1);
        if self.started
            && let Some(end) = memchr(b'\n', whole)
        {
            self.hold(&whole[..end], out);
            self.end_line(out);
            whole = &whole[end + 1..];
        }
        self.prefix.copy_lines(whole, out);
        self.hold(tail, out);
    }

    fn push_any(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            if self.escape.is_open() {
                match self.escape.step(byte) {
                    Step::Consumed => rest = &rest[1..],
                    Step::Broken => {}
                    Step::Color(parameters) => {
                        rest = &rest[1..];
                        if self.color {
                            set_color(&mut self.colors, parameters);
                            if self.row.is_none() {
                                push_color(&mut self.line, parameters);
                                self.bound_colors(out);
                            }
                        }
                    }
                    Step::Edit(last, parameters) => {
                        rest = &rest[1..];
                        // Nothing to move in, and nothing to erase.
                        let moves = matches!(last, b'C' | b'G' | b'`' | b'a');
                        if self.started || self.row.is_some() || moves {
                            let parameters = parameters.to_vec();
                            self.row().control(last, &parameters);
                        }
                    }
                }
                continue;
            }
            let clean = rest.iter().position(|&byte| is_control(byte)).unwrap_or(rest.len());
            if clean > 0 {
                self.hold(&rest[..clean], out);
                rest = &rest[clean..];
                continue;
            }
            rest = &rest[self.control(rest, out)..];
        }
    }

    /// Acts on the control character, or what may be one, at the start of `text`; returns how many
    /// bytes that took.
    fn control(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        match text {
            [b'\n', ..] => self.end_line(out),
            [b'\r', ..] => self.returned = true,
            [0x08, ..] if self.started || self.row.is_some() => self.row().back(),
            [0x1b, ..] => self.escape.open(),
            [0xc2, low @ 0x80..=0x9f, ..] => {
                self.escape.open_c1(*low);
                return 2;
            }
            // The start of an ordinary character.
            [0xc2, ..] => {
                self.hold(&text[..2.min(text.len())], out);
                return 2.min(text.len());
            }
            // Dropped, as a terminal does.
            [dropped, ..] => return repeated(text, *dropped),
            [] => return 0,
        }
        1
    }

    /// Keeps text without line ends until its line does.
    fn hold(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if (self.returned && self.started) || self.row.is_some() {
            return self.write_over(text, out);
        }
        self.returned = false;
        let mut rest = text;
        while self.line.len() + rest.len() > self.longest {
            let fits = fitting(rest, self.longest.saturating_sub(self.line.len()));
            self.line.extend_from_slice(&rest[..fits]);
            self.end_line(out);
            rest = &rest[fits..];
        }
        self.started = true;
        self.line.extend_from_slice(rest);
    }

    /// Writes text into a line in which the cursor has moved.
    fn write_over(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut colors: Arc<[u8]> = Arc::from(self.colors.as_slice());
        for c in String::from_utf8_lossy(text).chars() {
            if self.row().len() >= self.longest {
                self.end_line(out);
                colors = Arc::from(self.colors.as_slice());
            }
            self.row().put(c, &colors);
        }
        self.started = true;
    }

    /// The line as columns, with the cursor where it is.
    fn row(&mut self) -> &mut Row {
        let returned = std::mem::take(&mut self.returned);
        let row = self.row.get_or_insert_with(|| {
            let line = std::mem::take(&mut self.line);
            columns(&line)
        });
        if returned {
            row.carriage_return();
        }
        row
    }

    /// Keeps colours without text from piling up.
    fn bound_colors(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.restart_line();
        } else if self.line.len() > self.longest {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.bytes());
        match self.row.take() {
            Some(row) => row.render(out),
            None => {
                out.extend_from_slice(&self.line);
                if !self.colors.is_empty() {
                    out.extend_from_slice(super::style::RESET);
                }
            }
        }
        out.push(b'\n');
        self.returned = false;
        self.started = false;
        self.restart_line();
    }

    fn restart_line(&mut self) {
        self.line.clear();
        self.line.extend_from_slice(&self.colors);
    }
}

/// A line and its colours as columns.
fn columns(line: &[u8]) -> Row {
    let mut row = Row::default();
    let mut set = Vec::new();
    let mut colors: Arc<[u8]> = Arc::from([]);
    let text = String::from_utf8_lossy(line);
    let mut rest = &*text;
    while let Some(start) = rest.find("\x1b[") {
        rest[..start].chars().for_each(|c| row.put(c, &colors));
        // There are no other sequences in a line than colours.
        let (parameters, after) = rest[start + 2..].split_once('m').unwrap_or_default();
        set_color(&mut set, parameters.as_bytes());
        colors = Arc::from(set.as_slice());
        rest = after;
    }
    rest.chars().for_each(|c| row.put(c, &colors));
    row
}

/// How much of `text` fits into `room` bytes without splitting a character.
fn fitting(text: &[u8], room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let is_boundary = |at: &usize| text[*at] & 0xc0 != 0x80;
    (0..=room).rev().find(is_boundary).unwrap_or(room)
}

/// Whether text needs a closer look than for line ends: control characters, or the first byte of
/// those that UTF-8 writes in two.
fn has_controls(text: &[u8]) -> bool {
    // Without an early exit, so that the compiler looks at many bytes at once.
    text.iter().fold(false, |found, &byte| found | (byte != b'\n' && is_control(byte)))
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f || byte == 0xc2
}

/// How many bytes at the start of `text` are `byte`.
fn repeated(text: &[u8], byte: u8) -> usize {
    // A sparse file printed to the log is gigabytes of zeros.
    let all = |block: &[u8]| block.iter().fold(0, |other, found| other | (found ^ byte)) == 0;
    let blocks = text.chunks_exact(64).take_while(|block| all(block)).count() * 64;
    blocks + text[blocks..].iter().take_while(|found| **found == byte).count()
}

fn push_color(text: &mut Vec<u8>, parameters: &[u8]) {
    text.extend_from_slice(b"\x1b[");
    text.extend_from_slice(parameters);
    text.push(b'm');
}

/// Remembers a colour for the lines to come.
fn set_color(colors: &mut Vec<u8>, parameters: &[u8]) {
    let first = parameters.split(|&byte| byte == b';').next().unwrap_or_default();
    let resets = first.iter().all(|&byte| byte == b'0');
    // Nobody combines as many colours as that: the oldest are long overwritten.
    if resets || colors.len() + parameters.len() > MAX_COLORS {
        colors.clear();
    }
    if !resets || parameters.contains(&b';') {
        push_color(colors, parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(color: bool, chunks: &[&str]) -> String {
        let mut lines = Lines::new(Prefix::new("[a] "), color);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, &mut out);
        }
        lines.end(&mut out);
        String::from_utf8(out).expect("text in, text out")
    }

    fn plain(text: &str) -> String {
        lines(false, &[text])
    }

    #[test]
    fn chunks_become_lines() {
        assert_eq!(
            lines(false, &["on", "e\ntwo\n\nth", "ree"]),
            "[a] one\n[a] two\n[a] \n[a] three\n"
        );
        assert_eq!(plain(""), "");
        assert_eq!(plain("\n"), "[a] \n");
        assert_eq!(plain("tab\there\n"), "[a] tab\there\n");
    }

    #[test]
    fn a_carriage_return_ends_or_overwrites_a_line() {
        assert_eq!(plain("one\r\ntwo\r\n"), "[a] one\n[a] two\n");
        assert_eq!(lines(false, &["one\r", "\ntwo"]), "[a] one\n[a] two\n");
        assert_eq!(plain("10%\r50%\r100%\r\n"), "[a] 100%\n");
        assert_eq!(lines(false, &["10%\r", "50%", "\r"]), "[a] 50%\n");
    }

    #[test]
    fn what_nothing_overwrote_stays() {
        for (text, shown) in [
            ("one two\rONE\n", "ONE two"),
            ("Building\rX\n", "Xuilding"),
            ("Downloading 100%\r\x1b[KDone\n", "Done"),
            ("spinner |\x08/\x08-\n", "spinner -"),
            ("\x1b[2K\x1b[1Gready\n", "ready"),
            ("漢字漢字\rab\n", "ab字漢字"),
            ("漢字\ra\n", "a 字"),
            ("e\u{301}f\rE\n", "Ef"),
            ("a\tb\rX\n", "X\tb"),
            ("abcdefghij\r\tX\n", "abcdefghXj"),
            ("text\r\n", "text"),
            ("\r\rtext\r\r\n", "text"),
            ("50%\r\x1b[K", ""),
        ] {
            let shown = if shown.is_empty() { String::new() } else { format!("[a] {shown}\n") };
            assert_eq!(plain(text), shown, "{text:?}");
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(lines(false, &pieces), shown, "{text:?} in pieces");
        }
    }

    #[test]
    fn endless_progress_takes_little_memory() {
        let mut lines = Lines::new(Prefix::default(), true);
        let mut out = Vec::new();
        for step in 0..100_000 {
            lines.push(&format!("\r\x1b[38;5;{}m{step} of many\u{301}", step % 256), &mut out);
            lines.push("\x08\x1b[999C\x1b[9@", &mut out);
        }
        assert!(out.len() <= 4 * MAX_LINE, "{}", out.len());
        assert!(lines.row.as_ref().is_some_and(|row| row.len() <= MAX_LINE));
        out.clear();
        lines.push(&"\rx".repeat(1_000_000), &mut out);
        assert!(out.is_empty());
        lines.push(&("\r".to_owned() + &"x".repeat(3 * MAX_LINE) + "\n"), &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 3);
    }

    #[test]
    fn control_characters_are_dropped() {
        assert_eq!(plain("a\0\0b\x07\x0b\x0c\x7f\u{85}c\n"), "[a] abc\n");
        assert_eq!(plain(&"\0".repeat(1_000_001)), "");
        assert_eq!(
            plain("\u{a9} \u{bf}\u{e9}漢🚀\u{fffd}\n"),
            "[a] \u{a9} \u{bf}\u{e9}漢🚀\u{fffd}\n"
        );
    }

    #[test]
    fn what_moves_the_cursor_is_dropped() {
        for color in [false, true] {
            assert_eq!(lines(color, &["\x1b[2J\x1b[1;1Ha\x1b[1A\x1b[?25lb\n"]), "[a] ab\n");
            assert_eq!(lines(color, &["\u{9b}2Ha\u{9d}0;title\x07b\x1bcc\x1b(Bd\n"]), "[a] abcd\n");
            assert_eq!(lines(color, &["\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n"]), "[a] link\n");
        }
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        assert_eq!(lines(false, &["a\x1b", "[3", "1mb\x1b]0;ti", "tle\x1b", "\\c\n"]), "[a] abc\n");
        assert_eq!(lines(true, &["\x1b[3", "1", "mb\x1b[", "m\n"]), "[a] \x1b[31mb\x1b[m\n");
    }

    #[test]
    fn a_sequence_that_never_ends_hides_one_line() {
        assert_eq!(plain("a\x1b]0;title\nb\n"), "[a] a\n[a] b\n");
        assert_eq!(plain("a\x1b[1;2\nb\n"), "[a] a\n[a] b\n");
        assert_eq!(plain("a\x1b\nb\n"), "[a] a\n[a] b\n");
        let endless = format!("\x1b[{}mb\n", "1".repeat(1_000_000));
        assert_eq!(lines(true, &[&endless]), "[a] b\n");
    }

    #[test]
    fn colors_stay_where_they_are_wanted() {
        let text = "\x1b[1;31mred\x1b[0m none\n";
        assert_eq!(lines(false, &[text]), "[a] red none\n");
        assert_eq!(lines(true, &[text]), format!("[a] {text}"));
    }

    #[test]
    fn a_color_ends_with_its_line_and_goes_on_in_the_next() {
        assert_eq!(
            lines(true, &["\x1b[31mone\n", "two\x1b[m\nthree\n"]),
            "[a] \x1b[31mone\x1b[0m\n[a] \x1b[31mtwo\x1b[m\n[a] three\n"
        );
        assert_eq!(lines(true, &["\x1b[31mone\rtwo\x1b[m\n"]), "[a] \x1b[31mtwo\x1b[0m\n");
    }

    #[test]
    fn endless_colors_do_not_pile_up() {
        for text in ["x", ""] {
            let mut lines = Lines::new(Prefix::default(), true);
            let mut out = Vec::new();
            lines.push(&(text.to_owned() + &"\x1b[38;5;1m".repeat(100_000)), &mut out);
            assert!(lines.colors.len() <= MAX_COLORS + 16);
            assert!(lines.line.len() <= MAX_LINE);
            assert!(out.len() <= 2 * MAX_LINE);
        }
    }

    #[test]
    fn a_long_line_is_broken_between_characters() {
        let text = "\u{e9}".repeat(MAX_LINE);
        for ending in ["", "\x07"] {
            let out = lines(false, &["x", &text, ending, "\n"]);
            let broken: Vec<_> =
                out.lines().map(|line| line.strip_prefix("[a] ").unwrap_or_default()).collect();
            assert!(broken.iter().all(|line| line.len() <= MAX_LINE));
            assert_eq!(broken.len(), 3);
            assert!(broken.concat() == format!("x{text}"));
        }
    }

    #[test]
    fn a_complete_text_is_not_broken() {
        let text = "x".repeat(MAX_LINE * 3);
        let mut out = Vec::new();
        Lines::all(&text, false, &mut out);
        assert!(out == (text + "\n").as_bytes());
    }

    #[test]
    fn fast_and_careful_reading_agree() {
        let text = "a\nbb\n\nccc ccc ccc\tccc\n".repeat(10_000) + "tail";
        let careful = text.replacen('a', "\0a", 1);
        assert!(plain(&text) == plain(&careful));
    }
}
