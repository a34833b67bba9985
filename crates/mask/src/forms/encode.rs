//! Encodings of any bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Most bytes after a value that are taken for a line break or two at its end.
const MOST_AFTER: usize = 4;

/// The bytes in hexadecimal.
pub fn hex(value: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |&byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    value.iter().flat_map(digits).collect()
}

/// How a value shows in the base64 (RFC 4648) of a longer text: three ways, for the place in a group of three bytes
/// that it begins at. Characters that also depend on what is around the value are left out.
pub struct Inside {
    padded: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inside {
    pub fn all(value: &[u8]) -> [Self; 3] {
        [0, 1, 2].map(|before| {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(value);
            // Each character tells 6 bits.
            let start = (8 * before).div_ceil(6);
            let end = 8 * bytes.len() / 6;
            Self { padded: BASE64_STANDARD.encode(bytes).into_bytes(), start, end }
        })
    }

    /// The characters that depend on nothing but the value.
    pub fn own(&self) -> &[u8] {
        &self.padded[self.start..self.end]
    }

    /// The last of them, from `start` of [`Self::own`] on, as at the end of the text.
    pub fn at_end(&self, start: usize) -> &[u8] {
        &self.padded[self.start + start..]
    }
}

/// Adds a value in base64: inside of a longer text, and at its end with and without padding. `after` is what the
/// value had at its own end.
pub fn base64(value: &[u8], after: &[u8], add: &mut impl FnMut(&[u8])) {
    for inside in Inside::all(value) {
        add(inside.own());
        add(inside.at_end(0));
        add(without_padding(inside.at_end(0)));
    }
    for after in [b"\n", after] {
        if after.is_empty() || after.len() > MOST_AFTER {
            continue;
        }
        for inside in Inside::all(&[value, after].concat()) {
            add(inside.at_end(0));
            add(without_padding(inside.at_end(0)));
        }
    }
}

fn without_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |index| index + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD_NO_PAD;

    use super::*;

    #[test]
    fn the_inside_is_part_of_any_text() {
        for length in 6..12 {
            let value = &b"hunter22 abc"[..length];
            for before in 0..6 {
                for after in 0..4 {
                    let text = [&b"xyzxyz"[..before], value, &b"uvw"[..after]].concat();
                    let encoded = BASE64_STANDARD_NO_PAD.encode(text);
                    let all = Inside::all(value);
                    let own = std::str::from_utf8(all[before % 3].own()).unwrap();
                    assert!(encoded.contains(own), "{encoded} {own}");
                    // At most one character at each side tells a part.
                    assert!(own.len() * 6 > value.len() * 8 - 12, "{own}");
                }
            }
        }
    }

    #[test]
    fn digits_are_hexadecimal() {
        assert_eq!(hex(b"\x00a\xff"), b"0061ff");
    }
}
