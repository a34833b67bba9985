//! Finds all forms in bytes that arrive piece by piece.

use memchr::{memchr2, memrchr2};

use super::filter::Filter;
use super::fold::{folded, is_break};
use super::run::{Run, cover, start_of_last};
use super::trie::Trie;

/// Most bytes of line breaks in a row within a secret. More could be withheld without end.
pub const MOST_BREAKS: u8 = 16;

/// How far a stream has come.
#[derive(Clone, Copy, Default)]
pub struct Cursor {
    node: u32,
    /// How many line breaks came last.
    breaks: u8,
}

/// All forms of all secrets.
pub struct Matcher {
    filter: Filter,
    trie: Trie,
}

impl Matcher {
    /// Takes patterns of folded bytes without line breaks, each of at least 6 bytes.
    pub fn new(patterns: Vec<Vec<u8>>) -> Self {
        Self { filter: Filter::new(&patterns), trie: Trie::new(patterns) }
    }

    /// Reads `data` from `from` on. What is before was read, and is there from [`Self::held_from`] on.
    pub fn scan(&self, data: &[u8], from: usize, cursor: &mut Cursor, runs: &mut Vec<Run>) {
        let Cursor { mut node, mut breaks } = *cursor;
        let after_break = |index: usize| index + 1;
        let mut line_start = memrchr2(b'\n', b'\r', &data[..from]).map_or(0, after_break);
        let mut line_end = 0;
        let mut at = from;
        // Before this, the filter has found something.
        let mut seen = 0;
        while at < data.len() {
            // The filter knows no more than the automaton, but for what begins with the last 3 bytes of a line. Those
            // it sees again.
            if let Some(depth) = self.trie.small_depth(node)
                && at >= depth + line_start.max(seen)
            {
                let start = at - depth;
                if line_end < start || line_end == 0 {
                    let found = memchr2(b'\n', b'\r', &data[start..]);
                    line_end = found.map_or(data.len(), |index| start + index);
                }
                let suspect = self.filter.find(data, start, line_end);
                (node, breaks) = (0, 0);
                at = suspect.start;
                seen = suspect.seen;
                continue;
            }
            let byte = data[at];
            at += 1;
            if is_break(byte) {
                line_start = at;
                breaks = breaks.saturating_add(1);
                if breaks > MOST_BREAKS {
                    node = 0;
                }
                continue;
            }
            breaks = 0;
            node = self.trie.next(node, folded(byte));
            let length = self.trie.longest(node);
            if length > 0 {
                cover(data, at, length, runs);
            }
        }
        *cursor = Cursor { node, breaks };
    }

    /// How many of the last bytes may begin a secret, line breaks not counted.
    pub fn held(&self, cursor: Cursor) -> usize {
        self.trie.depth(cursor.node)
    }

    /// Where that begins in `data`.
    pub fn held_from(&self, data: &[u8], cursor: Cursor) -> usize {
        start_of_last(data, self.held(cursor))
    }
}
