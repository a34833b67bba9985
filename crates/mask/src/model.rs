//! The search against one that looks for each pattern at each place.

use proptest::collection::vec;
use proptest::prelude::*;

use super::fold::{folded, is_break};
use super::masker::Masker;
use super::set::SecretSet;

/// The text with `***` in place of what patterns cover, and how many of its last bytes begin a pattern.
fn expected(patterns: &[Vec<u8>], text: &[u8]) -> (Vec<u8>, usize) {
    let places: Vec<usize> = (0..text.len()).filter(|&at| !is_break(text[at])).collect();
    let bytes: Vec<u8> = places.iter().map(|&at| folded(text[at])).collect();
    let mut is_hidden = vec![false; text.len()];
    for pattern in patterns {
        for (start, window) in bytes.windows(pattern.len()).enumerate() {
            if window == pattern {
                is_hidden[places[start]..=places[start + pattern.len() - 1]].fill(true);
            }
        }
    }
    let mut masked = Vec::new();
    for at in 0..text.len() {
        if !is_hidden[at] {
            masked.push(text[at]);
        } else if at == 0 || !is_hidden[at - 1] {
            masked.extend(b"***");
        }
    }
    let begins = |length: &usize| {
        patterns.iter().any(|pattern| pattern.starts_with(&bytes[bytes.len() - length..]))
    };
    (masked, (0..=bytes.len()).rev().find(begins).unwrap_or(0))
}

fn pattern(alphabet: &'static str, most: usize) -> impl Strategy<Value = Vec<u8>> {
    let letter = proptest::sample::select(alphabet.as_bytes());
    vec(letter.prop_map(folded), 6..most)
}

/// Patterns, and a text that is made of parts of them.
fn case() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>, Vec<usize>)> {
    let patterns = prop_oneof![
        vec(pattern("ab", 12), 1..5),
        vec(pattern("aB+/x", 30), 1..9),
        vec(pattern("abcdefghijklmnop0123456789", 40), 1..20),
    ];
    patterns.prop_flat_map(|patterns| {
        let part = (proptest::sample::select(patterns.clone()), 0..40_usize, 0..40_usize);
        let part = part.prop_map(|(pattern, start, length)| {
            let start = start.min(pattern.len());
            let end = (start + length).min(pattern.len());
            pattern[start..end].to_vec()
        });
        let noise = vec(proptest::sample::select(&b"aAbB-_+/x1"[..]), 0..12);
        let breaks = prop_oneof![Just(b"\n".to_vec()), Just(b"\r\n".to_vec())];
        let whole = proptest::sample::select(patterns.clone());
        let wrapped = (proptest::sample::select(patterns.clone()), 1..9_usize).prop_map(
            |(pattern, columns)| pattern.chunks(columns).collect::<Vec<_>>().join(&b'\n'),
        );
        let text = vec(prop_oneof![part, noise, breaks, whole, wrapped], 0..20);
        let text = text.prop_map(|parts| parts.concat());
        (Just(patterns), text, vec(0..400_usize, 0..8))
    })
}

/// The text as it comes out if it is cut at these places.
fn streamed(set: &SecretSet, text: &[u8], mut cuts: Vec<usize>) -> Vec<u8> {
    cuts.retain(|&cut| cut < text.len());
    cuts.sort_unstable();
    let mut masker = Masker::new(set);
    let mut out = Vec::new();
    let mut start = 0;
    for end in cuts.into_iter().chain([text.len()]) {
        masker.push(&text[start..end], &mut out);
        start = end;
    }
    masker.flush(&mut out);
    assert_eq!(masker.pending(), 0);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn all_patterns_are_found((patterns, text, cuts) in case()) {
        let (masked, _) = expected(&patterns, &text);
        let set = SecretSet::of_patterns(patterns);
        prop_assert_eq!(set.mask_bytes(&text).escape_ascii().to_string(), masked.escape_ascii().to_string());
        prop_assert_eq!(streamed(&set, &text, cuts).escape_ascii().to_string(), masked.escape_ascii().to_string());
        prop_assert_eq!(streamed(&set, &text, (0..text.len()).collect()), masked);
    }

    /// Nothing more is withheld than what begins a pattern.
    #[test]
    fn only_the_beginning_of_a_pattern_is_withheld((patterns, text, _) in case()) {
        let (_, held) = expected(&patterns, &text);
        let mut masker = Masker::new(&SecretSet::of_patterns(patterns));
        masker.push(&text, &mut Vec::new());
        let start = (0..text.len()).rev().filter(|&at| !is_break(text[at])).nth(held.wrapping_sub(1));
        let most = start.map_or(0, |start| text.len() - start);
        prop_assert!(masker.pending() <= most, "{} {most}", masker.pending());
        // What an idle stream shows is less than the beginning of a pattern that tells something.
        let before = masker.pending();
        let mut shown = Vec::new();
        masker.flush_idle(&mut shown);
        prop_assert_eq!(shown.len(), if held <= 3 { before } else { 0 });
    }
}
