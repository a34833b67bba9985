//! Finds the places where a pattern may begin, many times faster than the automaton.
//!
//! Windows of 4 bytes are looked up in a bit set. A pattern of at least `n` bytes has a window that begins at one of
//! its first `n - 3` bytes wherever every `(n - 3)`th position is looked at: all of these windows are in the set. It
//! is made so large that of other windows about one of hundred is taken for one.

#[cfg(test)]
use super::fold::folded;
use super::fold::other_spelling;

/// Bytes of a window.
const WINDOW: usize = 4;

/// Most bytes from one window to the next. More would mean more windows in the set and not much less to do.
const MOST_STRIDE: usize = 8;

/// Bits of the set for each window in it.
const BITS: usize = 128;

/// Least and most bits of the set, as powers of two: 2 KiB and 512 KiB.
const SIZES: (u32, u32) = (14, 22);

pub struct Filter {
    bits: Vec<u64>,
    shift: u32,
    stride: usize,
}

/// Where the automaton has to look.
pub struct Suspect {
    /// No pattern begins between the start of the search and here.
    pub start: usize,
    /// No window before has to be looked at again. It is after the start of the search.
    pub seen: usize,
}

impl Filter {
    /// Takes patterns of folded bytes, each of at least 6 bytes.
    pub fn new(patterns: &[Vec<u8>]) -> Self {
        let least = patterns.iter().map(Vec::len).min().unwrap_or(usize::MAX);
        let stride = (least - (WINDOW - 1)).min(MOST_STRIDE);
        let mut keys = Vec::with_capacity(patterns.len() * stride);
        for pattern in patterns {
            for window in pattern.windows(WINDOW).take(stride) {
                keys_of(window, &mut keys);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let size = (keys.len() * BITS).next_power_of_two().trailing_zeros();
        let size = size.clamp(SIZES.0, SIZES.1);
        let mut bits = vec![0_u64; 1 << (size - 6)];
        let shift = u32::BITS - size;
        for key in keys {
            let index = key.wrapping_mul(MULTIPLIER) >> shift;
            bits[(index / 64) as usize] |= 1 << (index % 64);
        }
        Self { bits, shift, stride }
    }

    /// Finds the first place from `start` to `end` where a pattern may begin, or may begin and go on after `end`.
    /// There is no line break in between.
    pub fn find(&self, data: &[u8], start: usize, end: usize) -> Suspect {
        let line = &data[start..end];
        let Some(last) = line.len().checked_sub(WINDOW) else {
            return Suspect { start, seen: end + 1 };
        };
        let found = |at: usize| Suspect {
            start: start + at.saturating_sub(self.stride - 1),
            seen: start + at + 1,
        };
        for (index, window) in line.windows(WINDOW).step_by(self.stride).enumerate() {
            if self.has(window) {
                return found(index * self.stride);
            }
        }
        // What begins so late that it reaches over the end.
        if self.has(&line[last..]) {
            return found(last);
        }
        Suspect { start: end - (WINDOW - 1), seen: end + 1 }
    }

    #[inline]
    fn has(&self, window: &[u8]) -> bool {
        let key = u32::from_le_bytes([window[0], window[1], window[2], window[3]]) | CASE;
        let index = key.wrapping_mul(MULTIPLIER) >> self.shift;
        self.bits[(index / 64) as usize] >> (index % 64) & 1 == 1
    }
}

/// Makes letters small, four at a time. Other bytes may become the same as well.
const CASE: u32 = 0x2020_2020;

/// Spreads keys over the set, by multiplicative hashing (Knuth, "The Art of Computer Programming", volume 3, 6.4).
const MULTIPLIER: u32 = 0x9E37_79B1;

/// Adds the keys of all windows that count as the same as this one.
fn keys_of(window: &[u8], keys: &mut Vec<u32>) {
    let first = keys.len();
    keys.push(0);
    for (position, &byte) in window.iter().enumerate() {
        let place = |byte: u8| u32::from(byte | CASE as u8) << (8 * position);
        let end = keys.len();
        if let Some(other) = other_spelling(byte) {
            keys.extend_from_within(first..end);
            keys[end..].iter_mut().for_each(|key| *key |= place(other));
        }
        keys[first..end].iter_mut().for_each(|key| *key |= place(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_found_in_each_spelling() {
        let filter = Filter::new(&[b"a+/b[\xff".to_vec()]);
        for byte in 0..=u8::MAX {
            for window in [[byte, b'x', b'-', b'_'], [b'+', byte, b'x', byte]] {
                let filter =
                    Filter::new(&[window.iter().chain(b"zzz").map(|&byte| folded(byte)).collect()]);
                assert!(filter.has(&window), "{window:?}");
                assert!(filter.has(&window.map(|byte| byte.to_ascii_uppercase())), "{window:?}");
            }
        }
        assert!(filter.has(b"A-_B") && filter.has(b"a+/b") && !filter.has(b"a+/c"));
    }
}
