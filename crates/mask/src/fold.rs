//! Bytes that count as the same.

/// What each byte counts as: capital letters as small ones, `-` as `+` and `_` as `/`.
///
/// So one form stands for hexadecimal digits in both cases and for both alphabets of base64.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'-' => b'+',
            b'_' => b'/',
            other => other.to_ascii_lowercase(),
        };
        byte += 1;
    }
    table
};

/// What the byte counts as.
#[inline]
pub fn folded(byte: u8) -> u8 {
    FOLDED[usize::from(byte)]
}

/// If the byte is part of a line break, which is skipped.
#[inline]
pub fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The byte that counts as this folded one, apart from capital letters.
pub fn other_spelling(byte: u8) -> Option<u8> {
    match byte {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        _ => None,
    }
}
