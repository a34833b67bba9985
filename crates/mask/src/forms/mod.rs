//! The forms in which a value may be shown.

mod encode;
mod escape;
mod pieces;

use super::fold::{folded, is_break};
use super::scan::MOST_BREAKS;
use super::trie::LONGEST;

/// The least bytes of a form, line breaks not counted.
pub const LEAST: usize = 6;

/// The least bytes of a line that is a secret by itself.
pub const LINE: usize = 8;

/// Most bytes of a value that is looked for in all its forms.
pub const WHOLE: usize = 4 << 10;

/// The bytes of a piece of a larger value.
pub const PIECE: usize = 512;

/// How many different bytes a line or a piece has at least. What has less, such as padding, is no secret.
const DIFFERENT: usize = 4;

/// If the value is not hidden, since that would hide parts of most texts.
pub fn is_too_short(value: &[u8]) -> bool {
    value.trim_ascii().iter().filter(|&&byte| !is_break(byte)).count() < LEAST
}

/// Adds all forms of a value, as [folded] bytes without line breaks.
pub fn collect(value: &[u8], patterns: &mut Vec<Vec<u8>>) {
    let start = value.trim_ascii_start();
    let core = start.trim_ascii_end();
    let after = &start[core.len()..];
    let mut add = |form: &[u8]| {
        let bytes = form.iter().filter(|&&byte| !is_break(byte));
        let pattern: Vec<u8> = bytes.map(|&byte| folded(byte)).collect();
        if (LEAST..=LONGEST).contains(&pattern.len()) {
            patterns.push(pattern);
        }
    };
    if core.len() > WHOLE {
        pieces::all(core, &mut add);
        return;
    }
    add(core);
    escape::all(core, &mut add);
    for part in between_gaps(core) {
        add(part);
    }
    if core.iter().any(|&byte| is_break(byte)) {
        for line in lines(core).filter(|line| is_telling(line)) {
            add(line);
            escape::all(line, &mut add);
        }
    }
    add(&encode::hex(core));
    encode::base64(core, after, &mut add);
}

/// The lines without white space around them, and without those that begin and end a PEM block.
fn lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = value.split(|&byte| is_break(byte)).map(<[u8]>::trim_ascii);
    lines.filter(|line| {
        let is_border = line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ");
        let is_border = is_border && line.ends_with(b"-----");
        !line.is_empty() && !is_border
    })
}

/// If a line or a piece is a secret by itself.
fn is_telling(part: &[u8]) -> bool {
    let mut seen = [false; 256];
    let is_new = |&&byte: &&u8| !std::mem::replace(&mut seen[usize::from(byte)], true);
    part.len() >= LINE
        && part.iter().any(|&byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
        && part.iter().filter(is_new).take(DIFFERENT).count() == DIFFERENT
}

/// What is between so many line breaks that the search does not skip them where each has become two or three bytes.
fn between_gaps(value: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut start, mut breaks) = (0, 0);
    for (index, &byte) in value.iter().enumerate() {
        breaks = if is_break(byte) { breaks + 1 } else { 0 };
        if breaks > usize::from(MOST_BREAKS / 3) {
            parts.push(&value[start..index]);
            start = index;
        }
    }
    parts.push(&value[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(value: &str) -> Vec<String> {
        let mut patterns = Vec::new();
        collect(value.as_bytes(), &mut patterns);
        let mut forms: Vec<String> =
            patterns.into_iter().map(|pattern| String::from_utf8(pattern).unwrap()).collect();
        forms.sort();
        forms.dedup();
        forms
    }

    #[test]
    fn a_plain_token_has_few_forms() {
        let expected = [
            "68756e7465723232",
            "ahvudgvymj", // aHVudGVyMjI=, and after 3 bytes
            "ahvudgvymji",
            "ahvudgvymji=",
            "ahvudgvymjik",
            "h1bnrlcjiy", // after 1 byte
            "h1bnrlcjiycg",
            "h1bnrlcjiycg==",
            "hunter22",
            "odw50zxiym", // after 2 bytes
            "odw50zxiymg",
            "odw50zxiymg==",
            "odw50zxiymgo",
            "odw50zxiymgo=",
        ];
        assert_eq!(collected("hunter22\n"), expected);
    }

    #[test]
    fn lines_that_tell_something_are_secrets() {
        let pem = "-----BEGIN KEY-----\nMIIBOgIBAAJBAKj3\nQg==\n-----END KEY-----\n";
        assert_eq!(lines(pem.as_bytes()).collect::<Vec<_>>(), [&b"MIIBOgIBAAJBAKj3"[..], b"Qg=="]);
        let cases = [
            ("MIIBOgIBAAJBAKj3", true),
            ("pass-1word", true),
            ("geheimé", true),
            ("Qg==", false),
            ("}", false),
            ("----------", false),
            ("},{};:[]()", false),
            ("AAAAAAAAAAAAAAAA", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_telling(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_large_gap_parts_a_value() {
        let gap = "\n".repeat(20);
        let parts = |text: &str| between_gaps(text.as_bytes()).len();
        assert_eq!(parts("first\n\n\nsecond"), 1);
        assert!(collected(&format!("firstpart{gap}secondpart")).contains(&"secondpart".to_owned()));
    }
}
