//! What a task wrote: bytes become text, and as much of it is kept as a result may hold.

use std::collections::VecDeque;
use std::sync::Arc;

/// Turns chunks of bytes into chunks of text without splitting a character.
///
/// Bytes that are not UTF-8 become U+FFFD, as in [`String::from_utf8_lossy`].
#[derive(Default)]
pub struct Decoder {
    /// The first bytes of a character whose rest has not arrived; at most three.
    pending: Vec<u8>,
}

impl Decoder {
    /// The text of a chunk, empty when all of it has to wait for more.
    pub fn push(&mut self, chunk: Vec<u8>) -> String {
        let mut bytes = if self.pending.is_empty() {
            chunk
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(&chunk);
            joined
        };
        let cut = bytes.len() - incomplete_tail(&bytes);
        self.pending = bytes.split_off(cut);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// What is left when the stream has ended.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// How many bytes at the end are the beginning of a character, by the table of well-formed
/// sequences in section 3.9 of the Unicode standard.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let start = bytes.len().saturating_sub(3);
    for (index, byte) in bytes[start..].iter().enumerate().rev() {
        match byte {
            0x80..=0xBF => {}
            0xC2..=0xF4 => {
                let tail = &bytes[start + index..];
                let incomplete =
                    matches!(std::str::from_utf8(tail), Err(error) if error.error_len().is_none());
                return if incomplete { tail.len() } else { 0 };
            }
            _ => return 0,
        }
    }
    0
}

/// A chunk with fewer bytes is copied behind the one before: kept by itself, it would take several times
/// its size.
const SMALL: usize = 4 * 1024;

/// How large a chunk becomes by that, in bytes.
const JOINED: usize = 64 * 1024;

/// Keeps the beginning and the end of a stream of text within a budget.
pub struct Capture {
    /// In bytes, for each of the two ends.
    half: usize,
    head: String,
    tail: VecDeque<Arc<String>>,
    tail_len: usize,
    /// All that was pushed after the head was full, in bytes.
    after_head: usize,
}

impl Capture {
    /// `limit` is in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            half: limit / 2,
            head: String::new(),
            tail: VecDeque::new(),
            tail_len: 0,
            after_head: 0,
        }
    }

    pub fn push(&mut self, text: &Arc<String>) {
        let cut = if self.tail.is_empty() {
            text.floor_char_boundary(self.half - self.head.len())
        } else {
            0
        };
        self.head.push_str(&text[..cut]);
        let rest = &text[cut..];
        if rest.is_empty() {
            return;
        }
        self.after_head += rest.len();
        self.tail_len += rest.len();
        let small = rest.len() < SMALL;
        let last = self.tail.back_mut().filter(|last| small && last.len() + rest.len() <= JOINED);
        match last.and_then(Arc::get_mut) {
            Some(last) => last.push_str(rest),
            // The log has the same text for as long as it is large enough to be worth it.
            None if cut == 0 && !small => self.tail.push_back(text.clone()),
            None => self.tail.push_back(Arc::new(rest.to_owned())),
        }
        while let Some(first) = self.tail.front() {
            if self.tail_len - first.len() < self.half {
                break;
            }
            self.tail_len -= first.len();
            self.tail.pop_front();
        }
    }

    /// How much is kept, in bytes.
    pub fn held(&self) -> usize {
        self.head.len() + self.tail_len
    }

    /// The text, and whether something was left out of its middle.
    pub fn finish(self) -> (String, bool) {
        let mut text = self.head;
        let tail: String = self.tail.iter().map(|chunk| chunk.as_str()).collect();
        let skip = tail.ceil_char_boundary(tail.len().saturating_sub(self.half));
        let left_out = self.after_head - self.tail_len + skip;
        if left_out > 0 {
            text.push_str(&format!("\n[{left_out} bytes left out]\n"));
        }
        text.push_str(&tail[skip..]);
        (text, left_out > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut texts: Vec<_> = chunks.iter().map(|chunk| decoder.push(chunk.to_vec())).collect();
        texts.push(decoder.finish());
        texts
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        assert_eq!(decode(&[b"a\xF0\x9F", b"\x9A", b"\x80b"]), ["a", "", "🚀b", ""]);
    }

    #[test]
    fn what_is_not_utf8_is_replaced_at_once() {
        assert_eq!(decode(&[b"a\xFF", b"\xE2\x28\xA1"]), ["a\u{FFFD}", "\u{FFFD}(\u{FFFD}", ""]);
    }

    #[test]
    fn an_unfinished_character_at_the_end_is_replaced() {
        assert_eq!(decode(&[b"a\xE2\x82"]), ["a", "\u{FFFD}"]);
    }

    fn capture(limit: usize, chunks: &[&str]) -> (String, bool) {
        let mut capture = Capture::new(limit);
        for chunk in chunks {
            capture.push(&Arc::new((*chunk).to_owned()));
        }
        capture.finish()
    }

    #[test]
    fn text_within_the_limit_is_kept_whole() {
        assert_eq!(capture(8, &["abc", "def", "gh"]), ("abcdefgh".into(), false));
    }

    #[test]
    fn small_chunks_are_kept_together() {
        let mut capture = Capture::new(1 << 20);
        let large = Arc::new("x".repeat(SMALL));
        for index in 0..(2 << 20) {
            capture.push(&Arc::new("y".to_owned()));
            if index % (1 << 18) == 0 {
                capture.push(&large);
            }
        }
        // Half of the limit in parts of `JOINED` bytes, and what is between large chunks.
        assert!(capture.tail.len() < 32, "{} chunks", capture.tail.len());
        assert!(capture.held() <= (1 << 20) + JOINED, "{} bytes", capture.held());
        let (text, is_cut) = capture.finish();
        assert!(is_cut && text.len() <= (1 << 20) + 100, "{} bytes", text.len());
    }

    #[test]
    fn head_and_tail_of_longer_text_are_kept() {
        assert_eq!(
            capture(8, &["abcd", "efgh", "ij", "kl"]),
            ("abcd\n[4 bytes left out]\nijkl".into(), true)
        );
        assert_eq!(capture(8, &["ab", "cdéfgh"]), ("abcd\n[2 bytes left out]\nfgh".into(), true));
    }
}
