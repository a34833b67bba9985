//! The digest of a tree whose files are hashed by several threads, in any order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::digest::{Digester, Record, Records};
use super::snapshot::{ContentHash, TreeDigest};

/// Takes entries in the order of the archive, and the hashes of their contents as they become known.
///
/// What waits here are the entries since the first file whose content is still being written.
#[derive(Default)]
pub struct Tally(Mutex<State>);

#[derive(Default)]
struct State {
    digester: Digester,
    /// The next entries of the digest, with the numbers of regular files.
    waiting: VecDeque<(Record, Option<usize>)>,
    /// The hashes of waiting files.
    contents: HashMap<usize, ContentHash>,
}

impl Tally {
    /// Adds the next entry. `file` is the number of a regular file, whose content is still to come.
    pub fn add(&self, record: Record, file: Option<usize>) {
        let mut state = self.lock();
        state.waiting.push_back((record, file));
        state.advance();
    }

    pub fn content(&self, file: usize, hash: ContentHash) {
        let mut state = self.lock();
        state.contents.insert(file, hash);
        state.advance();
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
        let mut records = Records::default();
        while let Some((record, file)) = self.waiting.front() {
            let content = match file {
                None => None,
                Some(number) => match self.contents.remove(number) {
                    Some(hash) => Some(hash),
                    None => break,
                },
            };
            records.add(record, content.as_ref());
            self.waiting.pop_front();
        }
        self.digester.update(&records);
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
                tally.add(Record::new(b'f', 0o644, &[b'a' + number as u8], b""), Some(number));
                tally.add(Record::new(b'd', 0o755, &[b'x' + number as u8], b""), None);
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
