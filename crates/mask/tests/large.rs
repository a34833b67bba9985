//! Values of many pages are hidden in pieces.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mask::{Masker, SecretSet, SecretValue};

const SIZE: usize = 48 << 10;

/// Most bytes of a piece.
const PIECE: usize = 520;

fn bytes(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Text in lines of 64 characters, in one line if `columns` is 0.
fn letters(columns: usize) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(bytes(SIZE)).into_bytes();
    if columns == 0 { text } else { wrapped(&text, columns) }
}

fn wrapped(text: &[u8], columns: usize) -> Vec<u8> {
    text.chunks(columns).collect::<Vec<_>>().join(&b'\n')
}

/// How many bytes stay at both ends. There must be nothing in between.
fn left(set: &SecretSet, text: &[u8]) -> (usize, usize) {
    let mut masker = Masker::new(set);
    let mut out = Vec::new();
    for chunk in text.chunks(4000) {
        masker.push(chunk, &mut out);
    }
    masker.flush(&mut out);
    assert_eq!(out, *set.mask_bytes(text));
    let is_break = |byte: &u8| *byte == b'\n' || *byte == b'\r';
    let hidden = |window: &[u8]| window == b"***";
    let first = out.windows(3).position(hidden).unwrap_or(out.len());
    let last = out.windows(3).rposition(hidden).map_or(0, |at| at + 3);
    let between = out.get(first..last).unwrap_or_default();
    assert!(between.iter().all(|byte| *byte == b'*' || is_break(byte)), "{}", between.len());
    (first, out.len() - last)
}

#[test]
fn lines_and_their_parts_are_hidden() {
    let value = letters(64);
    let set = SecretSet::new([("key", SecretValue::new(value.clone()))]);
    assert_eq!(left(&set, &value), (0, 0));
    let terminal: Vec<u8> = String::from_utf8_lossy(&value).replace('\n', "\r\n").into_bytes();
    assert_eq!(left(&set, &terminal), (0, 0));
    assert_eq!(left(&set, &value[65 * 100..65 * 200 - 1]), (0, 0));
    let (first, last) = left(&set, &value[65 * 100 + 1..65 * 200 - 2]);
    assert_eq!((first, last), (64, 64));
    let escaped = String::from_utf8_lossy(&value).replace('\n', "\\n");
    assert!(set.mask(&escaped).len() < escaped.len() / 10);
}

#[test]
fn parts_of_one_long_line_are_hidden_but_for_their_ends() {
    let value = letters(0);
    let set = SecretSet::new([("key", SecretValue::new(value.clone()))]);
    assert_eq!(left(&set, &value), (0, 0));
    assert_eq!(left(&set, &wrapped(&value, 76)), (0, 0));
    for start in [1, 100, 511, 512, 20_000] {
        let (first, last) = left(&set, &value[start..start + 5000]);
        assert!(first < PIECE && last < PIECE, "{start} {first} {last}");
    }
}

#[test]
fn bytes_are_hidden_as_they_are_and_encoded() {
    let value = bytes(SIZE);
    let set = SecretSet::new([("store", SecretValue::new(value.clone()))]);
    for before in 0..3 {
        let plain = [&b"abc"[..before], &value].concat();
        let encoded = BASE64_STANDARD.encode(&plain).into_bytes();
        // The character that both have a part in.
        assert_eq!(left(&set, &encoded), ((before * 8).div_ceil(6), 0), "{before}");
        assert_eq!(left(&set, &wrapped(&encoded, 76)), ((before * 8).div_ceil(6), 0), "{before}");
    }
    let digits: String = value.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(left(&set, digits.as_bytes()), (0, 0));
    assert_eq!(left(&set, &wrapped(digits.as_bytes(), 60)), (0, 0));
    let masked = set.mask_bytes(&value).len();
    assert!(masked < value.len() / 10, "{masked}");
}

#[test]
fn what_is_common_is_not_hidden() {
    let value = format!("{}\n{}\n{}\n", "-".repeat(6000), " ".repeat(600), "0".repeat(6000));
    let set = SecretSet::new([("key", SecretValue::new(format!("{value}a secret line\n")))]);
    assert_eq!(set.mask(&value), value.as_str());
    assert_eq!(set.mask("a secret line"), "***");
}

#[test]
fn half_a_megabyte_is_hidden() {
    let value = wrapped(BASE64_STANDARD.encode(bytes(384 << 10)).as_bytes(), 64);
    assert!(value.len() > 512 << 10);
    let set = SecretSet::new([("config", SecretValue::new(value.clone()))]);
    assert_eq!(set.mask_bytes(&value).iter().filter(|byte| !b"*\n".contains(byte)).count(), 0);
}
