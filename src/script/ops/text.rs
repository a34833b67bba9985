use std::time::Duration;

use deno_core::op2;
use similar::TextDiff;

use crate::process::masking;
use crate::suggest::suggestion;

/// Milliseconds in a duration such as `1h 30m`; `None` when it is not one.
#[op2]
pub fn op_duration_ms(#[string] text: &str) -> Option<f64> {
    let duration = crate::duration::parse(text).ok()?;
    Some(duration.as_secs_f64() * 1000.0)
}

/// Bytes in a size such as `512MiB`; `None` when it is not one.
#[op2]
pub fn op_size_bytes(#[string] text: &str) -> Option<f64> {
    let size: bytesize::ByteSize = text.parse().ok()?;
    Some(size.as_u64() as f64)
}

/// What differs between two texts, line by line: `-` is only in `expected`, `+` only in `actual`.
#[op2]
#[string]
pub fn op_text_diff(#[string] actual: &str, #[string] expected: &str) -> String {
    // Before the signs of the difference stand between the lines of a secret.
    let (actual, expected) = (masking::text(actual), masking::text(expected));
    // What is not compared by then is shown as replaced.
    TextDiff::configure()
        .timeout(Duration::from_millis(500))
        .diff_lines(&*expected, &*actual)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(false)
        .header("expected", "actual")
        .to_string()
}

/// The nearest of the known words, if one is near.
#[op2]
#[string]
pub fn op_suggestion(#[string] word: &str, #[serde] known: Vec<String>) -> Option<String> {
    suggestion(word, known.iter().map(String::as_str)).map(str::to_owned)
}
