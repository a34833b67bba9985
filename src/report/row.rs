//! A line that is written over, as progress bars do: what a terminal would show of it at its end.

use std::sync::Arc;

use unicode_width::UnicodeWidthChar;

/// How far the cursor may move beyond the end of a line, in columns: programs that know no width
/// take a terminal for this wide.
const EDGE: usize = 80;

/// Most characters without a width that are kept behind another one.
const MOST_MARKS: usize = 16;

/// The columns of a line, and where the next character goes.
#[derive(Default)]
pub struct Row {
    columns: Vec<Column>,
    cursor: usize,
}

#[derive(Clone)]
struct Column {
    content: Content,
    /// The colours as escape sequences; none for nothing.
    colors: Arc<[u8]>,
}

#[derive(Clone)]
enum Content {
    /// Nothing was written here, or it was erased.
    Blank,
    /// A character, and those without a width behind it.
    Text(char, Vec<char>),
    /// A part of the character before, which is wider than one column.
    Rest,
}

impl Row {
    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Goes back to the first column, as a carriage return does.
    pub fn carriage_return(&mut self) {
        self.cursor = 0;
    }

    /// Goes back by one column.
    pub fn back(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// Writes a character that is no control character other than a tab.
    pub fn put(&mut self, c: char, colors: &Arc<[u8]>) {
        let width = match c {
            '\t' => {
                let stop = (self.cursor / 8 + 1) * 8;
                if self.cursor < self.columns.len() {
                    // A tab moves over what is there.
                    self.cursor = stop;
                    return;
                }
                stop - self.cursor
            }
            c => c.width().unwrap_or(0),
        };
        if width == 0 {
            self.mark(c);
            return;
        }
        self.reserve(self.cursor);
        let end = self.cursor + width;
        self.clear(self.cursor, end);
        self.reserve(end);
        let colors = colors.clone();
        self.columns[self.cursor] = Column { content: Content::Text(c, Vec::new()), colors };
        for column in &mut self.columns[self.cursor + 1..end] {
            column.content = Content::Rest;
        }
        self.cursor = end;
    }

    /// Does what a control sequence says, if that is about this line: the last byte tells which one
    /// it is (ECMA-48, section 8.3).
    pub fn control(&mut self, last: u8, parameters: &[u8]) {
        let given = parameters.split(|byte| *byte == b';').next().unwrap_or_default();
        let number = given
            .iter()
            .fold(0_usize, |sum, digit| {
                sum.saturating_mul(10).saturating_add(usize::from(digit.wrapping_sub(b'0')))
            })
            .min(EDGE * 1000);
        let count = number.max(1);
        let len = self.columns.len();
        let furthest = len.max(EDGE - 1);
        match (last, number) {
            // Cursor: forward, back, to a column.
            (b'C' | b'a', _) => self.cursor = (self.cursor + count).min(furthest.max(self.cursor)),
            (b'D', _) => self.cursor = self.cursor.saturating_sub(count),
            (b'G' | b'`', _) => self.cursor = (count - 1).min(furthest),
            // Erase: to the end, up to the cursor, all.
            (b'K' | b'J', 0) => {
                self.clear(self.cursor, len);
                self.columns.truncate(self.cursor);
            }
            (b'K' | b'J', 1) => self.clear(0, self.cursor.saturating_add(1).min(len)),
            (b'K' | b'J', 2 | 3) => self.columns.clear(),
            // Characters: erase, delete, insert.
            (b'X', _) => self.clear(self.cursor, (self.cursor + count).min(len)),
            (b'P', _) if self.cursor < len => {
                let end = (self.cursor + count).min(len);
                self.clear(self.cursor, end);
                self.columns.drain(self.cursor..end);
            }
            (b'@', _) if self.cursor < len => {
                self.clear(self.cursor, self.cursor);
                let blanks = std::iter::repeat_n(Column::blank(), count.min(EDGE));
                self.columns.splice(self.cursor..self.cursor, blanks);
                // What is pushed over the edge is lost.
                self.columns.truncate(len.max(EDGE));
            }
            _ => {}
        }
    }

    /// Appends the line to `out`, without what was never written at its end.
    pub fn render(&self, out: &mut Vec<u8>) {
        let is_text = |column: &Column| !matches!(column.content, Content::Blank);
        let end = self.columns.iter().rposition(is_text).map_or(0, |last| last + 1);
        let mut set: &[u8] = &[];
        for Column { content, colors } in &self.columns[..end] {
            let (c, marks) = match content {
                Content::Rest => continue,
                Content::Blank => (' ', &[][..]),
                Content::Text(c, marks) => (*c, marks.as_slice()),
            };
            if **colors != *set {
                if !set.is_empty() {
                    out.extend_from_slice(super::style::RESET);
                }
                out.extend_from_slice(colors);
                set = colors;
            }
            let mut buffer = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            for mark in marks {
                out.extend_from_slice(mark.encode_utf8(&mut buffer).as_bytes());
            }
        }
        if !set.is_empty() {
            out.extend_from_slice(super::style::RESET);
        }
    }

    /// Adds a character without a width to the one before the cursor.
    fn mark(&mut self, c: char) {
        let before = self.cursor.min(self.columns.len());
        let text =
            self.columns[..before].iter_mut().rev().find_map(|column| match &mut column.content {
                Content::Text(_, marks) => Some(marks),
                Content::Rest | Content::Blank => None,
            });
        if let Some(marks) = text.filter(|marks| marks.len() < MOST_MARKS) {
            marks.push(c);
        }
    }

    /// Makes the line at least this long.
    fn reserve(&mut self, len: usize) {
        if self.columns.len() < len {
            self.columns.resize(len, Column::blank());
        }
    }

    /// Clears columns, and with them the rest of characters that are cut in two.
    fn clear(&mut self, start: usize, end: usize) {
        let len = self.columns.len();
        for edge in [start, end] {
            if !matches!(self.columns.get(edge), Some(Column { content: Content::Rest, .. })) {
                continue;
            }
            let is_rest = |column: &Column| matches!(column.content, Content::Rest);
            let first = (0..edge).rev().find(|at| !is_rest(&self.columns[*at])).unwrap_or(0);
            let last = (edge..len).find(|at| !is_rest(&self.columns[*at])).unwrap_or(len);
            self.columns[first..last].fill(Column::blank());
        }
        let end = end.min(len);
        if start < end {
            self.columns[start..end].fill(Column::blank());
        }
    }
}

impl Column {
    fn blank() -> Self {
        Self { content: Content::Blank, colors: Arc::from([]) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lines::Lines;

    /// What a terminal shows of a line.
    fn on_a_terminal(text: &str) -> String {
        let mut terminal = vt100::Parser::new(2, 80, 0);
        terminal.process(text.as_bytes());
        terminal.screen().contents().trim_end().to_owned()
    }

    fn in_the_log(text: &str) -> String {
        let mut out = Vec::new();
        Lines::all(text, false, &mut out);
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    proptest! {
        #[test]
        fn a_line_is_what_a_terminal_shows(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("abc"), Just("x"), Just("漢"), Just("e\u{301}"), Just("  "), Just("\r"),
                    Just("\x08"), Just("\x1b[K"), Just("\x1b[1K"), Just("\x1b[2K"), Just("\x1b[5G"),
                    Just("\x1b[3C"), Just("\x1b[2D"), Just("\x1b[2P"), Just("\x1b[3X"),
                    Just("\x1b[31m"), Just("\x1b[m"),
                ],
                0..14,
            )
        ) {
            let text = parts.concat();
            prop_assert_eq!(in_the_log(&text), on_a_terminal(&text), "{:?}", text);
        }
    }
}
