//! Hides secrets in one stream.

use super::forms::LEAST;
use super::scan::Cursor;
use super::set::SecretSet;
use super::writer::Writer;

/// Most bytes that may begin a secret and are shown nevertheless when a stream is idle.
const SHOWN_WHEN_IDLE: usize = 3;

/// Hides secrets in one stream, for example the standard output of one task.
///
/// Withheld are only last bytes that may begin a secret, which can be a single letter, and line breaks after them: at
/// most as many bytes as the longest form has, and 16 bytes of line breaks after each of them.
/// They are given out with what comes next, by [`flush`](Self::flush) or by [`flush_idle`](Self::flush_idle).
pub struct Masker {
    set: SecretSet,
    cursor: Cursor,
    /// Bytes of the stream that may begin a secret.
    held: Vec<u8>,
    writer: Writer,
}

impl Masker {
    #[must_use]
    pub fn new(set: &SecretSet) -> Self {
        let cursor = Cursor::default();
        Self { set: set.clone(), cursor, held: Vec::new(), writer: Writer::default() }
    }

    /// Takes the next bytes of the stream, and appends to `out` what can be shown.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Self { set, cursor, held, writer } = self;
        let Some(matcher) = set.matcher() else {
            out.extend_from_slice(chunk);
            return;
        };
        if held.is_empty() {
            matcher.scan(chunk, 0, cursor, &mut writer.runs);
            let end = matcher.held_from(chunk, *cursor);
            writer.write(chunk, end, out);
            held.extend_from_slice(&chunk[end..]);
        } else {
            let from = held.len();
            held.extend_from_slice(chunk);
            matcher.scan(held, from, cursor, &mut writer.runs);
            let end = matcher.held_from(held, *cursor);
            writer.write(held, end, out);
            held.drain(..end);
        }
    }

    /// Appends what is withheld: the stream has ended. What is pushed afterwards is another stream.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.writer.write(&self.held, self.held.len(), out);
        self.held.clear();
        self.writer = Writer::default();
        self.cursor = Cursor::default();
    }

    /// Appends what is withheld: the stream has ended, perhaps in the middle of a secret, as that of a process does that
    /// was killed. Its last bytes are hidden if they may be the first 6 or more of a secret.
    pub fn flush_cut(&mut self, out: &mut Vec<u8>) {
        if self.set.matcher().is_some_and(|matcher| matcher.held(self.cursor) >= LEAST) {
            self.writer.hide_all(&self.held);
        }
        self.flush(out);
    }

    /// Appends what is withheld if it is so little that it tells nothing: at most 3 bytes, line breaks not counted.
    /// To be called when nothing has come for a while, so that the end of a line or a prompt is shown.
    ///
    /// If it does become a secret, the rest of that is hidden.
    pub fn flush_idle(&mut self, out: &mut Vec<u8>) {
        let Some(matcher) = self.set.matcher() else { return };
        if matcher.held(self.cursor) <= SHOWN_WHEN_IDLE {
            self.writer.write_early(&self.held, out);
        }
    }

    /// How many bytes are withheld.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.held.len() - self.writer.done()
    }
}
