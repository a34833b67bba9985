//! Text that others have written, as a terminal may show it.

/// The longest text of a server that is shown, in characters.
const MAX_CHARS: usize = 400;

/// Text without what a terminal acts on instead of showing it: control characters, and characters that
/// are invisible or change the direction of what follows. Each becomes an escape such as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unsafe(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// What a server says, made printable and cut to a length that a message can have.
pub fn said(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => printable(&text[..end]) + "...",
        None => printable(text),
    }
}

/// JSON in which nothing stands unescaped that a terminal acts on. `text` is JSON, so that such characters
/// can only be in its strings; its line feeds stay.
pub fn printable_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unsafe(c) && c != '\n' {
            true => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    shown.push_str(&format!("\\u{unit:04x}"));
                }
            }
            false => shown.push(c),
        }
    }
    shown
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_acts_on() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\r\\n");
        assert_eq!(printable("\u{9b}31m\u{202e}x"), "\\u{9b}31m\\u{202e}x");
        assert_eq!(printable("Ünï 🚀 \\ \""), "Ünï 🚀 \\ \"");
        assert_eq!(said(&"x".repeat(400)), "x".repeat(400));
        assert_eq!(said(&"ü".repeat(401)), "ü".repeat(400) + "...");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!(["a\u{9b}\u{7f}", "\u{202e}\u{e0041}\n", "plain"]);
        let text = printable_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| is_unsafe(c) && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
