//! The digest of a tree whose files are hashed by several threads, in any order.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::hash::{ContentHash, TreeDigest};
use crate::tree::digest::{Digester, Record};

/// Takes entries in the order of the archive, and the hashes of their contents as they become known.
///
/// What waits here are the entries since the first file whose content is still being written.
#[derive(Default)]
pub struct Tally(Mutex<State>);

#[derive(Default)]
struct State {
    digester: Digester,
    /// The next entries of the digest, and whether they are regular files.
    waiting: VecDeque<(Record, bool)>,
    /// The hashes of the files that wait, as far as they are known.
    contents: VecDeque<Option<ContentHash>>,
    /// How many files were there before them.
    done: usize,
}

impl Tally {
    /// Adds the next entry that is no regular file.
    pub fn add(&self, record: Record) {
        let mut state = self.lock();
        state.waiting.push_back((record, false));
        state.advance();
    }

    /// Adds the next entry, a regular file whose content is still to come. Returns its number, which counts
    /// regular files from 0.
    pub fn add_file(&self, record: Record) -> usize {
        let mut state = self.lock();
        state.waiting.push_back((record, true));
        state.contents.push_back(None);
        state.done + state.contents.len() - 1
    }

    /// The content of the file with this number, once for each file.
    pub fn content(&self, number: usize, hash: ContentHash) {
        let mut state = self.lock();
        let index = number.checked_sub(state.done);
        if let Some(content) = index.and_then(|index| state.contents.get_mut(index)) {
            *content = Some(hash);
            if index == Some(0) {
                state.advance();
            }
        }
    }

    /// The digest, if the content of all files is known.
    pub fn finish(&self) -> Option<TreeDigest> {
        let state = self.lock();
        state.waiting.is_empty().then(|| state.digester.finish())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self) {
        while let Some((record, is_file)) = self.waiting.front() {
            if !is_file {
                self.digester.add(record, None);
            } else if let Some(Some(content)) = self.contents.front() {
                self.digester.add(record, Some(content));
                self.contents.pop_front();
                self.done += 1;
            } else {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_hashes_does_not_matter() {
        let digest = |order: &[usize]| {
            let tally = Tally::default();
            for number in 0..3 {
                let file = Record::new(b'f', 0o644, &[b'a' + number as u8], b"");
                assert_eq!(tally.add_file(file), number);
                tally.add(Record::new(b'd', 0o755, &[b'x' + number as u8], b""));
            }
            for (known, number) in order.iter().enumerate() {
                assert_eq!(tally.finish(), None, "{known} of 3");
                tally.content(*number, [*number as u8; 32]);
            }
            tally.finish()
        };
        let expected = digest(&[0, 1, 2]);
        assert!(expected.is_some());
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(digest(&order), expected);
        }
    }
}
