use std::time::Duration;

use deno_core::op2;
use deno_error::JsErrorBox;
use serde_saphyr::UserMessageFormatter;
use similar::TextDiff;

use crate::pipeline::yaml;

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
    // What is not compared by then is shown as replaced.
    TextDiff::configure()
        .timeout(Duration::from_millis(500))
        .diff_lines(expected, actual)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(false)
        .header("expected", "actual")
        .to_string()
}

/// The value of a YAML document, by the core schema of YAML 1.2.
#[op2]
#[serde]
pub fn op_yaml_parse(#[string] text: &str) -> Result<serde_json::Value, JsErrorBox> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.render_with_formatter(&UserMessageFormatter);
        JsErrorBox::new("SyntaxError", format!("YAML.parse: {message}"))
    })
}

/// A YAML document as JSON text, whose numbers have the digits that were written.
#[op2]
#[string]
pub fn op_yaml_to_json(#[string] text: &str) -> Result<String, JsErrorBox> {
    yaml::to_json(text)
        .map_err(|reason| JsErrorBox::new("SyntaxError", format!("YAML.asJSON: {reason}")))
}

/// A value as a YAML document.
#[op2]
#[string]
pub fn op_yaml_stringify(#[serde] value: serde_json::Value) -> Result<String, JsErrorBox> {
    serde_saphyr::to_string(&value)
        .map_err(|error| JsErrorBox::type_error(format!("YAML.stringify: {error}")))
}
