//! "Did you mean", as problems of a file say it.

use spec::suggest::suggestion;

/// `, did you mean …` or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    suggestion(word, known).map_or_else(String::new, |known| format!(", did you mean `{known}`"))
}
