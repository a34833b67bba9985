//! Percent-encoded text.

use percent_encoding::percent_decode_str;

/// The text that is meant. `None` if a `%` begins no escape, which the decoder would take for a literal
/// one, or if the result is no UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    parts.next();
    let is_escape =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !parts.all(is_escape) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_are_decoded() {
        assert_eq!(percent_decoded("a%2Fb%c3%A9").as_deref(), Some("a/b\u{e9}"));
        for wrong in ["%", "a%2", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
    }
}
