//! Where a part of a scalar stands in the text of a document.

use crate::node::Mark;

/// The text of a document, by lines.
pub struct Places<'a> {
    text: &'a str,
    /// Where each line starts, in bytes; read when somebody asks.
    lines: Vec<usize>,
}

/// How far after the beginning of a scalar, or after what was found in it before, something is looked for.
const FARTHEST: usize = 64 * 1024;

impl<'a> Places<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, lines: Vec::new() }
    }

    /// Where `written` stands next in the scalar that begins at `mark`, after `seen`. Its beginning, if the document
    /// writes it in another way, as with escapes.
    pub fn next(&mut self, written: &str, mark: Mark, seen: Mark) -> Mark {
        if self.lines.is_empty() {
            self.lines.push(0);
            self.lines.extend(self.text.match_indices('\n').map(|(at, _)| at + 1));
        }
        let Some(from) = self.offset(seen) else { return mark };
        let from = if seen == mark { from } else { from + 1 };
        let most = from.saturating_add(FARTHEST).min(self.text.len());
        let Some(rest) = self.text.as_bytes().get(from..most) else { return mark };
        let found = rest.windows(written.len()).position(|bytes| bytes == written.as_bytes());
        found.and_then(|at| self.mark(from + at)).unwrap_or(mark)
    }

    fn offset(&self, mark: Mark) -> Option<usize> {
        let start = *self.lines.get(mark.line.checked_sub(1)?)?;
        let line = self.text.get(start..)?;
        let column = line.char_indices().nth(mark.column.saturating_sub(1));
        Some(start + column.map_or(line.len(), |(at, _)| at))
    }

    fn mark(&self, offset: usize) -> Option<Mark> {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = *self.lines.get(line.checked_sub(1)?)?;
        let column = self.text.get(start..offset)?.chars().count() + 1;
        Some(Mark { line, column })
    }
}
