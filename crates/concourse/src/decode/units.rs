//! Durations and sizes.

use crate::fields::wrong;
use crate::node::Node;
use crate::problem::Problems;

/// Milliseconds in a duration as Go writes it, such as `1h30m` or `1.5s`.
pub fn duration(node: &Node, problems: &mut Problems) -> Option<u64> {
    let found = node.scalar().and_then(|text| milliseconds(&text)).filter(|ms| *ms > 0);
    found.or_else(|| wrong(node, "a duration such as `90s` or `1h30m`", problems))
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..len].parse().ok()?;
        rest = rest[len..].trim_start();
        let len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        sum += number
            * match &rest[..len] {
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
    (sum <= 1e14).then_some(sum.round() as u64)
}

/// Bytes: a number, or one with `KB`, `MB`, `GB` (powers of 1024, as in Concourse).
pub fn bytes(node: &Node, problems: &mut Problems) -> Option<u64> {
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
    found.filter(|bytes| *bytes > 0).or_else(|| wrong(node, "a size such as `512MB`", problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, ms) in [("90s", 90_000), ("1h30m", 5_400_000), ("1.5s", 1500), ("20ms", 20)] {
            assert_eq!(milliseconds(text), Some(ms), "{text}");
        }
        for text in ["soon", "5", "5 minutes", "-1s", "1h-"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
