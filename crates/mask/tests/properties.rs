//! No encoding of any secret is left, wherever it stands and however the stream is cut.

use base64::Engine;
use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD,
};
use mask::{Masker, SecretSet, SecretValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;

fn set(value: &[u8]) -> SecretSet {
    SecretSet::new([("name", SecretValue::new(value))])
}

/// Tokens, passwords, texts of several lines.
fn text() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[A-Za-z0-9+/_=.-]{6,60}",
        "[ -~]{6,40}",
        "\\PC{6,40}",
        "([ -~]{0,30}\r?\n){1,6}[A-Za-z]{6}",
        "[\t a-z\u{1b}\u{7f}'\"\\\\$`é€𝄞]{6,30}",
    ];
    // White space around a value is not part of it.
    text.prop_map(|text| text.trim_ascii().replace('*', "x")).prop_filter("too short", |text| {
        text.bytes().filter(|byte| !b"\r\n".contains(byte)).count() >= 6
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        text().prop_map(String::into_bytes),
        // Not those that are around a value, and none that is trimmed.
        vec(any::<u8>().prop_map(|byte| byte | 0x80), 6..60),
        vec(any::<u8>().prop_map(|byte| byte.max(0x30)), 6..60),
    ]
}

/// One of many encodings of text, each of them with no more than one way to write each character.
fn encoded(text: &str, kind: u8) -> String {
    let bytes = text.as_bytes();
    let each = |escape: &dyn Fn(char) -> String| text.chars().map(escape).collect::<String>();
    match kind {
        0 => text.to_owned(),
        1 => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        2 => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        3 => percent_encode(bytes, UNRESERVED).to_string(),
        4 => encoded(text, 3).to_lowercase(),
        5 => encoded(text, 3).replace("%20", "+"),
        6 => {
            let quoted = serde_json::Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        7 => encoded(text, 6).replace('/', "\\/"),
        8 => each(&|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&apos;".to_owned(),
            other => other.to_string(),
        }),
        9 => text.replace('\'', "'\\''"),
        10 => text.replace('\'', "'\"'\"'"),
        11 => each(&|character| {
            if "$`\"\\".contains(character) {
                format!("\\{character}")
            } else {
                character.to_string()
            }
        }),
        12 => text.replace("\r\n", "\n").replace('\n', "\r\n"),
        13 => text.escape_debug().to_string(),
        14 => bytes.escape_ascii().to_string(),
        15 => text.chars().map(String::from).collect::<Vec<_>>().join("\n"),
        16 => text
            .to_uppercase()
            .chars()
            .zip(text.chars())
            .map(|(upper, other)| if other.is_ascii() { upper } else { other })
            .collect(),
        _ => BASE64_STANDARD.encode(text),
    }
}

/// What RFC 3986 keeps.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const KINDS: u8 = 18;

/// What comes out if the stream is cut at these places. An idle stream is flushed at each if `is_idle`.
fn streamed(set: &SecretSet, text: &[u8], cuts: &[usize], is_idle: bool) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    let mut masker = Masker::new(set);
    let mut out = Vec::new();
    let mut start = 0;
    for end in cuts.into_iter().chain([text.len()]) {
        masker.push(&text[start..end], &mut out);
        if is_idle {
            masker.flush_idle(&mut out);
        }
        start = end;
    }
    masker.flush(&mut out);
    out
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn each_encoding_is_hidden_in_whole(
        value in text(),
        kind in 0..KINDS,
        (before, after) in ("[\u{1}\u{2}\n]{0,9}", "[\u{1}\u{2}]{0,9}"),
        cuts in vec(0..1000_usize, 0..6),
    ) {
        // Case changes the length of few characters, for which the encoding makes no sense.
        prop_assume!(kind != 16 || value.is_ascii());
        let set = set(value.as_bytes());
        let text = format!("{before}{}{after}", encoded(&value, kind));
        let expected = format!("{before}***{after}");
        prop_assert_eq!(shown(set.mask(&text).as_bytes()), shown(expected.as_bytes()), "{}", text);
        let masked = streamed(&set, text.as_bytes(), &cuts, false);
        prop_assert_eq!(shown(&masked), shown(expected.as_bytes()), "{}", text);

        // An idle stream shows at most three bytes of its beginning.
        let masked = streamed(&set, text.as_bytes(), &cuts, true);
        let rest = masked.strip_prefix(before.as_bytes()).unwrap_or_default();
        let rest = rest.strip_suffix(format!("***{after}").as_bytes());
        let count = rest.map(|rest| rest.iter().filter(|byte| !b"\r\n".contains(byte)).count());
        prop_assert!(count.is_some_and(|count| count <= 3), "{} {}", text, shown(&masked));
    }

    #[test]
    fn bytes_are_hidden_in_the_base64_of_what_is_around_them(
        value in bytes(),
        before in vec(any::<u8>(), 0..9),
        after in prop_oneof![Just(Vec::new()), Just(vec![b'\n']), vec(any::<u8>(), 0..9)],
        kind in 0..4,
        columns in prop_oneof![Just(64_usize), Just(76), 1..20_usize, Just(1000)],
        line_break in prop_oneof![Just("\n"), Just("\r\n")],
        cuts in vec(0..1000_usize, 0..6),
    ) {
        let set = set(&value);
        let plain = [&before[..], &value, &after].concat();
        let encoded = match kind {
            0 => BASE64_STANDARD.encode(&plain),
            1 => BASE64_STANDARD_NO_PAD.encode(&plain),
            2 => BASE64_URL_SAFE.encode(&plain),
            _ => BASE64_URL_SAFE_NO_PAD.encode(&plain),
        };
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(columns).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        let wrapped = lines.join(line_break);
        let masked = streamed(&set, wrapped.as_bytes(), &cuts, false);
        prop_assert_eq!(shown(&masked), shown(set.mask(&wrapped).as_bytes()));
        let masked = String::from_utf8_lossy(&masked).replace(['\r', '\n'], "");
        let (left, rest) = masked.split_once("***").unwrap_or((&masked, ""));
        let right = rest.rsplit_once("***").map_or(rest, |(_, right)| right);
        // Characters that depend on the value alone.
        let first = (before.len() * 8).div_ceil(6);
        let last = if after.is_empty() || after == b"\n" {
            encoded.len()
        } else {
            (before.len() + value.len()) * 8 / 6
        };
        prop_assert!(left.len() <= first && encoded.starts_with(left), "{} {}", encoded, masked);
        prop_assert!(right.len() <= encoded.len() - last && encoded.ends_with(right), "{} {}", encoded, masked);
    }

    #[test]
    fn a_stream_comes_out_like_the_whole(
        values in vec(bytes(), 0..5),
        parts in vec((any::<prop::sample::Index>(), 0..60_usize, 0..60_usize), 0..12),
        cuts in vec(0..1000_usize, 0..9),
    ) {
        let set = SecretSet::new(values.iter().map(|value| ("name", SecretValue::new(&value[..]))));
        let mut text = b"text\n".to_vec();
        for (index, start, length) in parts {
            if !values.is_empty() {
                let value = index.get(&values);
                let start = start.min(value.len());
                text.extend(&value[start..value.len().min(start + length)]);
            }
        }
        prop_assert_eq!(shown(&streamed(&set, &text, &cuts, false)), shown(&set.mask_bytes(&text)));
    }

    #[test]
    fn text_without_secrets_stays_as_it_is(
        values in vec("[A-Za-z0-9+/]{16,60}", 0..8),
        text in prop_oneof!["([ -~]{0,100}\r?\n){0,9}", "(\\PC{0,40}\n){0,9}", "([A-Za-z0-9+/]{76}\n){0,9}"],
        cuts in vec(0..1000_usize, 0..6),
    ) {
        let set = SecretSet::new(values.into_iter().map(|value| ("name", SecretValue::new(value))));
        prop_assert_eq!(set.mask(&text), text.as_str());
        prop_assert_eq!(streamed(&set, text.as_bytes(), &cuts, false), text.as_bytes());
        prop_assert_eq!(streamed(&set, text.as_bytes(), &cuts, true), text.as_bytes());
    }
}
