//! "Did you mean": the known word that is nearest to a misspelt one.

/// Among how many words a near one is looked for: names of a large pipeline are too many.
const MOST: usize = 1000;

/// The nearest of `known` that is at most a third of its letters away, if there is one.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .take(MOST)
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let length = candidate.chars().count();
            // A word of which nothing is left is another word.
            let longest = length.max(word.chars().count());
            *distance <= (length / 3).max(1) && *distance < longest
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean …` or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    suggestion(word, known).map_or_else(String::new, |known| format!(", did you mean `{known}`"))
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().flat_map(char::to_lowercase).collect();
    let to: Vec<char> = to.chars().flat_map(char::to_lowercase).collect();
    // A word this much longer is no misspelling, and the table below would grow with it.
    if from.len() > 2 * to.len() {
        return usize::MAX;
    }
    let mut table = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for row in 1..=from.len() {
        let mut line = vec![row];
        for column in 1..=to.len() {
            let same = usize::from(from[row - 1] != to[column - 1]);
            let mut least = (table[row - 1][column] + 1)
                .min(line[column - 1] + 1)
                .min(table[row - 1][column - 1] + same);
            if row > 1
                && column > 1
                && from[row - 1] == to[column - 2]
                && from[row - 2] == to[column - 1]
            {
                least = least.min(table[row - 2][column - 2] + 1);
            }
            line.push(least);
        }
        table.push(line);
    }
    table[from.len()][to.len()]
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
        assert_eq!(did_you_mean("rnu", known), ", did you mean `run`");
    }
}
