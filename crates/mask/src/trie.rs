//! The automaton of Aho and Corasick, "Efficient string matching" (1975), over all forms.
//!
//! Nodes are numbered level by level, so that the children of a node follow each other: eleven bytes for each node
//! are enough, and the depth of a node is known by its number. The depth is what a stream has to withhold. The crate
//! `aho-corasick` does not tell it, and takes several times the memory for long patterns.

use zeroize::{Zeroize, Zeroizing};

/// Most bytes of a pattern.
pub const LONGEST: usize = u16::MAX as usize;

/// The automaton. Node 0 is the root: nothing was seen.
pub struct Trie {
    /// The byte that leads to each node from its parent.
    labels: Zeroizing<Vec<u8>>,
    /// The first child of each node. The last one ends before the first child of the next node.
    first: Vec<u32>,
    /// The node of the longest proper suffix of each node.
    fail: Vec<u32>,
    /// Bytes of the longest pattern that is a suffix of each node.
    longest: Vec<u16>,
    /// The first node of each level.
    levels: Vec<u32>,
    /// Where each byte leads from the root.
    root: Box<[u32; 256]>,
}

impl Trie {
    /// Builds the automaton. Patterns are not empty, and together have less than `u32::MAX` bytes.
    ///
    /// Takes time and memory linear in the bytes of all patterns. Overwrites the patterns.
    pub fn new(mut patterns: Vec<Vec<u8>>) -> Self {
        patterns.sort_unstable();
        patterns.dedup();
        let most = patterns.iter().map(Vec::len).sum::<usize>() + 1;
        let mut trie = Self {
            labels: Zeroizing::new(Vec::with_capacity(most)),
            first: Vec::with_capacity(most + 1),
            fail: Vec::with_capacity(most),
            longest: Vec::with_capacity(most),
            levels: vec![0],
            root: Box::new([0; 256]),
        };
        trie.push(0, 0, 0);
        // The patterns below each node of the level.
        let mut level = Vec::new();
        level.push(0..patterns.len());
        let mut below = Vec::new();
        for depth in 0.. {
            let base = trie.levels[depth];
            trie.levels.push(number(trie.labels.len()));
            for (node, range) in (base..).zip(level.drain(..)) {
                trie.grow(node, depth, &patterns, range, &mut below);
            }
            if depth == 0 {
                for (node, &label) in trie.labels.iter().enumerate().skip(1) {
                    trie.root[usize::from(label)] = number(node);
                }
            }
            if below.is_empty() {
                break;
            }
            std::mem::swap(&mut level, &mut below);
        }
        trie.first.push(number(trie.labels.len()));
        patterns.zeroize();
        trie.first.shrink_to_fit();
        trie.fail.shrink_to_fit();
        trie.longest.shrink_to_fit();
        trie
    }

    /// Adds the children of a node at `depth`. All patterns in `range` begin with what leads to the node.
    fn grow(
        &mut self,
        node: u32,
        depth: usize,
        patterns: &[Vec<u8>],
        range: std::ops::Range<usize>,
        below: &mut Vec<std::ops::Range<usize>>,
    ) {
        self.first.push(number(self.labels.len()));
        let std::ops::Range { mut start, end } = range;
        // What ends here is the first in order, and is there once.
        if patterns.get(start).is_some_and(|pattern| pattern.len() == depth) {
            start += 1;
        }
        while start < end {
            let label = patterns[start][depth];
            let same = patterns[start..end].iter().take_while(|other| other[depth] == label);
            let next = start + same.count();
            let fail = if depth == 0 { 0 } else { self.next(self.fail[node as usize], label) };
            let ends = patterns[start].len() == depth + 1;
            let longest = if ends {
                u16::try_from(depth + 1).unwrap_or(u16::MAX)
            } else {
                self.longest[fail as usize]
            };
            self.push(label, fail, longest);
            below.push(start..next);
            start = next;
        }
    }

    fn push(&mut self, label: u8, fail: u32, longest: u16) {
        self.labels.push(label);
        self.fail.push(fail);
        self.longest.push(longest);
    }

    /// The node after one more byte.
    #[inline]
    pub fn next(&self, mut node: u32, byte: u8) -> u32 {
        while node != 0 {
            let (start, end) = (self.first[node as usize], self.first[node as usize + 1]);
            let labels = &self.labels[start as usize..end as usize];
            if let Some(index) = labels.iter().position(|&label| label == byte) {
                return start + number(index);
            }
            node = self.fail[node as usize];
        }
        self.root[usize::from(byte)]
    }

    /// Bytes of the longest pattern that ends at the node, 0 if none does.
    #[inline]
    pub fn longest(&self, node: u32) -> usize {
        usize::from(self.longest[node as usize])
    }

    /// How many of the last bytes begin a pattern.
    pub fn depth(&self, node: u32) -> usize {
        self.levels.partition_point(|&first| first <= node) - 1
    }

    /// The depth if it is at most 3.
    #[inline]
    pub fn small_depth(&self, node: u32) -> Option<usize> {
        let levels = self.levels.get(1..5)?;
        if node >= levels[3] {
            return None;
        }
        Some(levels.iter().filter(|&&first| node >= first).count())
    }

    /// How many nodes there are.
    #[cfg(test)]
    pub fn nodes(&self) -> usize {
        self.labels.len()
    }
}

/// The number of a node. There are less than `u32::MAX`.
fn number(index: usize) -> u32 {
    debug_assert!(u32::try_from(index).is_ok());
    index as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(patterns: &[&str]) -> Trie {
        Trie::new(patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect())
    }

    /// The depth and the longest match after each byte.
    fn walk(trie: &Trie, text: &str) -> Vec<(usize, usize)> {
        let mut node = 0;
        let step = |byte| {
            node = trie.next(node, byte);
            (trie.depth(node), trie.longest(node))
        };
        text.bytes().map(step).collect()
    }

    #[test]
    fn depth_is_what_begins_a_pattern() {
        let trie = trie(&["abcab", "bcx", "bcab", "cab"]);
        let expected = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 5), (3, 0), (3, 3), (0, 0), (1, 0)];
        assert_eq!(walk(&trie, "abcabcxza"), expected);
    }

    #[test]
    fn common_beginnings_share_nodes() {
        assert_eq!(trie(&["abcdef", "abcdeg", "abcdef"]).nodes(), 1 + 7);
        assert_eq!(trie(&[]).nodes(), 1);
        assert_eq!(walk(&trie(&[]), "ab"), [(0, 0); 2]);
    }
}
