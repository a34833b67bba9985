//! Durations and sizes.

use crate::fields::wrong;
use crate::node::{Node, Value};
use crate::problem::Problems;

/// Milliseconds in a duration as Go writes it, such as `1h30m` or `1.5s`. What is shorter than one is one: a step
/// with it is ended at once, as in Concourse.
pub fn duration(node: &Node, problems: &mut Problems) -> Option<u64> {
    let found = node.scalar().filter(|_| !node.missing).and_then(|text| milliseconds(&text));
    found
        .map(|duration| duration.ceil().max(1.0) as u64)
        .or_else(|| wrong(node, "a duration such as `90s` or `1h30m`", problems))
}

/// Milliseconds of a cache's lifetime, of which Concourse takes those from a second.
pub fn ttl(node: &Node, problems: &mut Problems) -> Option<u64> {
    if matches!(&node.value, Value::Text(text) if text.is_empty()) {
        return None;
    }
    let found = node.scalar().and_then(|text| milliseconds(&text)).filter(|ms| *ms >= 1000.0);
    found.map(|ms| ms as u64).or_else(|| wrong(node, "a duration from `1s`", problems))
}

fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..len].trim_end_matches('.').parse().ok()?;
        rest = rest[len..].trim_start();
        let len = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        sum += number
            * match &rest[..len] {
                "ns" => 1e-6,
                // The sign for micro, and the Greek letter.
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 60e3,
                "h" => 3600e3,
                "d" => 86400e3,
                _ => return None,
            };
        rest = rest[len..].trim_start();
    }
    // Beyond a few thousand years nobody means it.
    (sum <= 1e14).then_some(sum * sign)
}

/// Shares of a processor. As in Concourse, a fraction is left out, and 0 sets no bound.
pub fn shares(node: &Node, problems: &mut Problems) -> Option<u32> {
    let text = match &node.value {
        Value::Number(text) => Some(text),
        Value::Text(text) if node.from_var => Some(text),
        _ => None,
    };
    match text.and_then(|text| text.parse::<f64>().ok()).filter(|count| *count >= 0.0) {
        Some(count) => Some(count as u32).filter(|count| *count > 0),
        None => wrong(node, "a number of shares such as `1024`", problems),
    }
}

/// Bytes: a number, or one with `KB`, `MB`, `GB` (powers of 1024, as in Concourse). 0 sets no bound.
pub fn bytes(node: &Node, problems: &mut Problems) -> Option<u64> {
    // A number may have a fraction, which is left out.
    if let Value::Number(text) = &node.value
        && let Some(bytes) = text.parse::<f64>().ok().filter(|bytes| *bytes >= 0.0)
        && text.contains(['.', 'e', 'E'])
    {
        return Some(bytes as u64).filter(|bytes| *bytes > 0);
    }
    let found = node.scalar().and_then(|text| {
        let text = text.trim().to_ascii_lowercase();
        let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let shift = match text[len..].trim().trim_end_matches('b').trim_end_matches('i') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return None,
        };
        text[..len].parse::<u64>().ok()?.checked_mul(1 << shift)
    });
    match found {
        Some(bytes) => Some(bytes).filter(|bytes| *bytes > 0),
        None => wrong(node, "a size such as `512MB`", problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, ms) in [
            ("90s", 90_000.0),
            ("1h30m", 5_400_000.0),
            ("1.5s", 1500.0),
            ("20ms", 20.0),
            (".5s", 500.0),
            ("1.s", 1000.0),
            ("500us", 0.5),
            ("500\u{b5}s", 0.5),
            ("0", 0.0),
            ("+1s", 1000.0),
            ("-1s", -1000.0),
        ] {
            assert_eq!(milliseconds(text), Some(ms), "{text}");
        }
        for text in ["soon", "5", "5 minutes", "", "-", "1h-", ".s", "1,5s"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
