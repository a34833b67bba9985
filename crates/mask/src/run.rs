//! The stretches of bytes that matches cover.

use super::fold::is_break;

/// A stretch that is hidden. Stretches of a list are in order and do not touch each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: usize,
    pub end: usize,
    /// How many of its bytes are no line breaks.
    count: usize,
}

impl Run {
    /// The bytes before `end`.
    pub fn of(data: &[u8], end: usize) -> Self {
        let count = data[..end].iter().filter(|byte| !is_break(**byte)).count();
        Self { start: 0, end, count }
    }
}

/// Adds the match of `length` bytes, line breaks not counted, that ends before `end`. Matches come in the order of
/// their ends.
///
/// Each byte is looked at once, however many matches cover it.
pub fn cover(data: &[u8], end: usize, length: usize, runs: &mut Vec<Run>) {
    let mut start = end;
    let mut count = 0;
    loop {
        if let Some(last) = runs.pop_if(|last| last.end >= start) {
            start = last.start;
            count += last.count;
        } else if count < length && start > 0 {
            start -= 1;
            count += usize::from(!is_break(data[start]));
        } else {
            break;
        }
    }
    runs.push(Run { start, end, count });
}

/// Where the last `length` bytes begin, line breaks not counted.
pub fn start_of_last(data: &[u8], length: usize) -> usize {
    let mut start = data.len();
    let mut count = 0;
    while count < length && start > 0 {
        start -= 1;
        count += usize::from(!is_break(data[start]));
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(data: &str, matches: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        for &(end, length) in matches {
            cover(data.as_bytes(), end, length, &mut runs);
        }
        runs.iter().map(|run| (run.start, run.end)).collect()
    }

    #[test]
    fn matches_that_touch_are_one() {
        let text = "0123456789";
        assert_eq!(covered(text, &[(3, 2), (8, 3)]), [(1, 3), (5, 8)]);
        assert_eq!(covered(text, &[(3, 2), (5, 2)]), [(1, 5)]);
        assert_eq!(covered(text, &[(3, 2), (6, 2), (8, 3)]), [(1, 3), (4, 8)]);
        assert_eq!(covered(text, &[(3, 1), (6, 1), (8, 7)]), [(1, 8)]);
    }

    #[test]
    fn line_breaks_are_not_counted() {
        assert_eq!(covered("ab\r\ncd\nef", &[(9, 5)]), [(1, 9)]);
        assert_eq!(covered("a\nb\nc\nd", &[(3, 2), (7, 3)]), [(0, 7)]);
        assert_eq!(start_of_last(b"ab\ncd\n", 3), 1);
        assert_eq!(start_of_last(b"ab\n", 0), 3);
    }
}
