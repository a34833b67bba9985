//! Words for what would have been right.

/// Among how many words a near one is looked for: names of a large pipeline are too many.
const MOST: usize = 1000;

/// "`a`, `b` or `c`".
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The nearest of `known` that is at most a quarter of its letters away, if there is one: insertions,
/// deletions, replacements and swaps of neighbours count.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let count = word.chars().count();
    known
        .into_iter()
        .take(MOST)
        .filter_map(|candidate| {
            let length = candidate.chars().count();
            // A word this much longer is no misspelling, and comparing takes time that grows with it.
            if count > 2 * length {
                return None;
            }
            let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
            // A word of which nothing is left is another word.
            let is_near = distance <= length.div_ceil(4) && distance < length.max(count);
            is_near.then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ", did you mean `name`?", if one of the known names is close.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    suggestion(name, known.iter().copied())
        .map_or_else(String::new, |close| format!(", did you mean `{close}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["image", "inputs", "run"];
        assert_eq!(suggestion("imgae", known), Some("image"));
        assert_eq!(suggestion("input", known), Some("inputs"));
        assert_eq!(suggestion("platform", known), None);
        assert_eq!(suggestion("a", ["b"]), None);
        assert_eq!(did_you_mean("rnu", &known), ", did you mean `run`?");
    }
}
