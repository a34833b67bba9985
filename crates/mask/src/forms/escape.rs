//! Escapes and quotes of texts.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Adds what becomes of a text where it is escaped or quoted. Most tokens stay what they are.
pub fn all(text: &[u8], add: &mut impl FnMut(&[u8])) {
    if text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)) {
        return;
    }
    percent(text, add);
    shell(text, add);
    literal(text, add);
    let Ok(readable) = std::str::from_utf8(text) else {
        // What is no text is seldom taken for one.
        add(String::from_utf8_lossy(text).as_bytes());
        add(&json(text));
        return;
    };
    for form in json_forms(readable) {
        add(form.as_bytes());
    }
    xml(readable, add);
    add(readable.escape_debug().to_string().as_bytes());
    add(readable.escape_default().to_string().as_bytes());
}

/// A text in a JSON string, as serde_json and most others write it. What is not UTF-8 is replaced.
pub fn json(text: &[u8]) -> Vec<u8> {
    json_text(&String::from_utf8_lossy(text)).into_bytes()
}

fn json_text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

/// RFC 3986 keeps these, and `encodeURIComponent`, a form (WHATWG URL), Python's `quote` and `encodeURI` others.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const COMPONENT: &AsciiSet =
    &UNRESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
const FORM: &AsciiSet = &UNRESERVED.remove(b'*').remove(b' ').add(b'~');
const QUERY: &AsciiSet = &UNRESERVED.remove(b' ');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');
const ADDRESS: &AsciiSet = &COMPONENT
    .remove(b';')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b',')
    .remove(b'#');

fn percent(text: &[u8], add: &mut impl FnMut(&[u8])) {
    for set in [UNRESERVED, COMPONENT, PATH, ADDRESS] {
        add(percent_encode(text, set).to_string().as_bytes());
    }
    for set in [FORM, QUERY] {
        add(percent_encode(text, set).to_string().replace(' ', "+").as_bytes());
    }
}

/// Also with `\/`, without anything but ASCII, and without what means something in HTML.
fn json_forms(text: &str) -> Vec<String> {
    let plain = json_text(text);
    let ascii = escaped(&plain, |character, out| {
        if character.is_ascii() {
            return false;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
        true
    });
    let html = |form: &str, special: &str| {
        escaped(form, |character, out| {
            special.contains(character) && write!(out, "\\u{:04x}", u32::from(character)).is_ok()
        })
    };
    let slashes = |form: &str| form.replace('/', "\\/");
    let mut forms = vec![slashes(&plain), slashes(&ascii)];
    forms.extend(
        ["<>&", "<>&'", "<>&'+"]
            .iter()
            .flat_map(|special| [html(&plain, special), html(&ascii, special)]),
    );
    forms.extend([plain, ascii]);
    forms
}

/// Content, and attributes with what different programs make of quotes.
fn xml(text: &str, add: &mut impl FnMut(&[u8])) {
    let quotes = [
        ("\"", "'"),
        ("&quot;", "'"),
        ("&quot;", "&apos;"),
        ("&quot;", "&#39;"),
        ("&quot;", "&#x27;"),
        ("&quot;", "&#039;"),
        ("&#34;", "&#39;"),
    ];
    for (double, single) in quotes {
        let form = escaped(text, |character, out| {
            out.push_str(match character {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => double,
                '\'' => single,
                _ => return false,
            });
            true
        });
        add(form.as_bytes());
    }
}

/// What a user writes for a shell, and what shells print for what they were given.
fn shell(text: &[u8], add: &mut impl FnMut(&[u8])) {
    add(&replaced(text, |byte| (byte == b'\'').then_some("'\\''")));
    add(&replaced(text, |byte| (byte == b'\'').then_some("'\"'\"'")));
    for special in
        [&b"\\\"$`"[..], b"\\\"$`!", b" \t!\"$&'()*,;<>?[\\]^`{|}", b" !\"#$&'()*,;<=>?[\\]^`{|}~"]
    {
        let mut form = Vec::with_capacity(text.len());
        for &byte in text {
            if special.contains(&byte) {
                form.push(b'\\');
            }
            form.push(byte);
        }
        add(&form);
    }
    // `$'…'` of bash, in a locale that knows the characters and in one that does not.
    for is_ascii in [false, true] {
        let mut form = Vec::with_capacity(text.len());
        for &byte in text {
            match byte {
                0x07 => form.extend(b"\\a"),
                0x08 => form.extend(b"\\b"),
                b'\t' => form.extend(b"\\t"),
                b'\n' => form.extend(b"\\n"),
                0x0B => form.extend(b"\\v"),
                0x0C => form.extend(b"\\f"),
                b'\r' => form.extend(b"\\r"),
                0x1B => form.extend(b"\\E"),
                b'\\' | b'\'' => form.extend([b'\\', byte]),
                0x20..=0x7E => form.push(byte),
                0x80.. if !is_ascii => form.push(byte),
                _ => form.extend(format!("\\{byte:03o}").bytes()),
            }
        }
        add(&form);
    }
}

/// Literals as Python, Rust and Go print them, but for Rust's of text.
fn literal(bytes: &[u8], add: &mut impl FnMut(&[u8])) {
    for quote in [None, Some(b'\''), Some(b'"')] {
        for is_ascii in [false, true] {
            let mut form = Vec::with_capacity(bytes.len());
            for &byte in bytes {
                match byte {
                    b'\t' => form.extend(b"\\t"),
                    b'\n' => form.extend(b"\\n"),
                    b'\r' => form.extend(b"\\r"),
                    b'\\' => form.extend(b"\\\\"),
                    _ if Some(byte) == quote => form.extend([b'\\', byte]),
                    0x20..=0x7E => form.push(byte),
                    0x80.. if !is_ascii => form.push(byte),
                    _ => form.extend(format!("\\x{byte:02x}").bytes()),
                }
            }
            add(&form);
        }
    }
    add(bytes.escape_ascii().to_string().as_bytes());
}

/// Writes characters as `escape` does, and itself those for which that returns `false`.
fn escaped(text: &str, escape: impl Fn(char, &mut String) -> bool) -> String {
    let mut form = String::with_capacity(text.len());
    for character in text.chars() {
        if !escape(character, &mut form) {
            form.push(character);
        }
    }
    form
}

fn replaced(text: &[u8], replace: impl Fn(u8) -> Option<&'static str>) -> Vec<u8> {
    let mut form = Vec::with_capacity(text.len());
    for &byte in text {
        match replace(byte) {
            Some(with) => form.extend_from_slice(with.as_bytes()),
            None => form.push(byte),
        }
    }
    form
}
