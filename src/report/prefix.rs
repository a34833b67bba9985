//! Prefixes before many lines, fast.

use memchr::{memchr, memchr_iter, memrchr};

/// Short prefixes and lines are copied as blocks of this many bytes, whatever their length: a copy
/// of a fixed size is a few instructions, one of a variable size a call.
const PREFIX_BLOCK: usize = 32;
const WORD: usize = 8;

/// Bytes of lines that are copied at a time, few enough to stay in the processor's first cache.
const STRETCH: usize = 2048;

/// What stands before each line of a task.
#[derive(Default)]
pub struct Prefix {
    bytes: Vec<u8>,
    /// The prefix and then zeros, when it is short.
    block: Option<[u8; PREFIX_BLOCK]>,
}

impl Prefix {
    pub fn new(text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut block = [0; PREFIX_BLOCK];
        let short = block.get_mut(..bytes.len()).map(|start| start.copy_from_slice(&bytes));
        Self { block: short.map(|()| block), bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends each line of `text` with the prefix before it. The text ends with a line end.
    pub fn copy_lines(&self, text: &[u8], out: &mut Vec<u8>) {
        let Some(block) = self.block.filter(|_| !self.bytes.is_empty()) else {
            return self.copy_lines_slowly(text, out);
        };
        let mut rest = text;
        while !rest.is_empty() {
            let end = memrchr(b'\n', &rest[..rest.len().min(STRETCH)])
                .or_else(|| memchr(b'\n', rest))
                .map_or(rest.len(), |end| end + 1);
            let stretch;
            (stretch, rest) = rest.split_at(end);
            self.copy_stretch(&block, stretch, out);
        }
    }

    fn copy_stretch(&self, block: &[u8; PREFIX_BLOCK], text: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let lines = memchr_iter(b'\n', text).count();
        let longest = lines * self.bytes.len() + text.len();
        out.resize(start + longest + PREFIX_BLOCK + WORD, 0);
        let to = &mut out[start..];
        let mut written = 0;
        let mut line_start = 0;
        let (words, rest) = text.as_chunks::<WORD>();
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        for (index, word) in words.iter().chain([&last]).enumerate() {
            let mut ends = newlines(*word);
            while ends != 0 {
                let line_end = index * WORD + ends.trailing_zeros() as usize / 8 + 1;
                ends &= ends - 1;
                let length = line_end - line_start;
                to[written..written + PREFIX_BLOCK].copy_from_slice(block);
                written += self.bytes.len();
                match text[line_start..].first_chunk::<WORD>() {
                    Some(line) if length <= WORD => {
                        to[written..written + WORD].copy_from_slice(line);
                    }
                    _ => to[written..written + length].copy_from_slice(&text[line_start..line_end]),
                }
                written += length;
                line_start = line_end;
            }
        }
        out.truncate(start + written);
    }

    fn copy_lines_slowly(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            out.extend_from_slice(text);
            return;
        }
        let mut start = 0;
        for end in memchr_iter(b'\n', text) {
            out.extend_from_slice(&self.bytes);
            out.extend_from_slice(&text[start..=end]);
            start = end + 1;
        }
    }
}

/// The line ends among eight bytes: the highest bit of each byte that is one, in the order of
/// the bytes from the lowest. Looking at the bytes one after the other would make each line wait
/// for the one before it.
fn newlines(word: [u8; WORD]) -> u64 {
    const LOW_BITS: u64 = u64::from_le_bytes([0x7f; WORD]);
    const NEWLINES: u64 = u64::from_le_bytes([b'\n'; WORD]);
    // Hacker's Delight, section 6-1: find the bytes that are zero.
    let zeros = u64::from_le_bytes(word) ^ NEWLINES;
    !(((zeros & LOW_BITS) + LOW_BITS) | zeros | LOW_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `copy_lines` should do, without any of its speed.
    fn simply(prefix: &str, text: &str) -> String {
        text.split_inclusive('\n').flat_map(|line| [prefix, line]).collect()
    }

    #[test]
    fn every_length_of_line_and_prefix_is_copied_whole() {
        let lengths =
            [0, 1, 2, 6, 7, 8, 9, 31, 33, 500, STRETCH - 1, STRETCH, STRETCH * 3, 0, 0, 5];
        let line = |length: &usize| "x".repeat(*length) + "\n";
        let mut text: String = lengths.iter().map(line).collect();
        text.extend(lengths.iter().rev().map(line));
        text.push_str(&"y\n".repeat(STRETCH));
        for prefix in ["", "[a] ", &"p".repeat(PREFIX_BLOCK), &"p".repeat(PREFIX_BLOCK + 1)] {
            let mut out = b"before\n".to_vec();
            Prefix::new(prefix).copy_lines(text.as_bytes(), &mut out);
            let expected = format!("before\n{}", simply(prefix, &text));
            assert!(String::from_utf8_lossy(&out) == expected, "prefix `{prefix}`");
        }
    }

    #[test]
    fn every_newline_of_eight_bytes_is_found_and_nothing_else() {
        let places = |text: &[u8; WORD]| {
            let ends = newlines(*text);
            (0..u64::BITS).filter(|bit| ends >> bit & 1 == 1).map(|bit| bit / 8).collect::<Vec<_>>()
        };
        assert_eq!(places(b"\n\x0b\n\n567\n"), [0, 2, 3, 7]);
        assert_eq!(places(b"\x0b\x8a\x00\xff\x09\x0d\x1a\x2a"), [0; 0]);
    }
}
