//! What comes out for what goes in.

use std::borrow::Cow;

use mask::{Masker, SecretSet, SecretValue};

fn set(values: &[&str]) -> SecretSet {
    SecretSet::new(values.iter().map(|value| ("name", SecretValue::new(*value))))
}

/// What the chunks become one by one, and at the end.
fn streamed(set: &SecretSet, chunks: &[&str]) -> Vec<String> {
    let mut masker = Masker::new(set);
    let mut parts = Vec::new();
    for chunk in chunks {
        let mut out = Vec::new();
        masker.push(chunk.as_bytes(), &mut out);
        parts.push(String::from_utf8_lossy(&out).into_owned());
    }
    let mut out = Vec::new();
    masker.flush(&mut out);
    parts.push(String::from_utf8_lossy(&out).into_owned());
    parts
}

#[test]
fn values_are_hidden_in_whole() {
    let pem = "-----BEGIN KEY-----\nMIIBOgIBAAJBAKj3\nQg==\n-----END KEY-----\n";
    let json = "{\n  \"password\": \"hunter22\"\n}\n";
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "hunter22", "hunter22"),
        (&["hunter22"], "", ""),
        (&["hunter22"], "as hunter22, hunter2", "as ***, hunter2"),
        (&["hunter22"], "hunter22hunter22", "***"),
        (&["hunter22\n"], "hunter22\r\n", "***\r\n"),
        (&["hunter22"], "HUNTER22", "***"),
        // Overlaps, and one value in another.
        (&["abcabcabc"], "xabcabcabcabcx", "x***x"),
        (&["abcdefgh", "efghijkl"], "<abcdefghijkl>", "<***>"),
        (&["secret", "my-secret-token"], "my-secret my-secret-token", "my-*** ***"),
        (&["secret", "secret-token"], "secret-tok secret-token", "***-tok ***"),
        (&["hunter22", "hunter22"], "hunter22 x", "*** x"),
        // Lines.
        (&[pem], pem, "***\n"),
        (&[pem], "MIIBOgIBAAJBAKj3\r\nQg==\r\n", "***\r\nQg==\r\n"),
        (&[pem], "-----BEGIN KEY-----\n", "-----BEGIN KEY-----\n"),
        (&[pem], &pem.replace('\n', "\r\n"), "***\r\n"),
        (&[pem], &format!("key: {}", pem.replace('\n', "\\n")), "key: ***\\n"),
        (&[json], "{\n}\n\"password\": \"hunter22\"", "{\n}\n***"),
        (&["one two\nthree"], "one two\nthree", "***"),
        // A line break anywhere.
        (&["hunter22"], "hunt\ner22 hun\n\nter22 hun\r\nter22", "*** *** ***"),
        (&["hunter22"], "hunter2\n2\n", "***\n"),
        // Encodings.
        (&["hunter22"], "aHVudGVyMjI= aHVudGVyMjIK eGh1bnRlcjIy", "*** *** eG***"),
        (&["hunter22"], "68756e7465723232 68756E7465723232", "*** ***"),
        (&["{hunter-22}~~~"], "e2h1bnRlci0yMn1-fn4= e2h1bnRlci0yMn1+fn4", "*** ***"),
        (&["p&ss w/rd\"é"], "p%26ss%20w%2Frd%22%C3%A9 p%26ss+w%2frd%22%c3%a9", "*** ***"),
        (&["p&ss w/rd\"é"], r#"p&ss w/rd\"é p&ss w\/rd\"\u00e9 p\u0026ss w/rd\"é"#, "*** *** ***"),
        (&["p&ss w/rd\"é"], "p&amp;ss w/rd&quot;é p&amp;ss w/rd\"é", "*** ***"),
        (
            &["it's $me"],
            r#"'it'\''s $me' 'it'"'"'s $me' it\'s\ \$me "it's \$me""#,
            "'***' '***' *** \"***\"",
        ),
        (&["tab\there\u{1b}"], r"tab\there\E tab\there\x1b tab\there\u001b", "*** *** ***"),
        // Close, but not the value.
        (&["hunter22"], "hunter 22 hunter2_2", "hunter 22 hunter2_2"),
        (&["abc***xyz"], "abc***xyz ***", "*** ***"),
    ];
    for (values, text, expected) in cases {
        let set = set(values);
        assert_eq!(set.mask(text), *expected, "{values:?}");
        assert_eq!(streamed(&set, &[text]).concat(), *expected, "{values:?}");
        let bytes: Vec<&str> = text.split("").collect();
        assert_eq!(streamed(&set, &bytes).concat(), *expected, "{values:?}");
    }
}

#[test]
fn only_what_may_begin_a_secret_is_withheld() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["a line\n", "hunt", "er22", "!"], &["a line\n", "", "***", "!", ""]),
        (&["a line\n", "hunt", "ers"], &["a line\n", "", "hunters", ""]),
        (&["push", "\n", "it\n"], &["pus", "", "h\nit\n", ""]),
        (&["hunter2", "2"], &["", "***", ""]),
        (&["hunter2"], &["", "hunter2"]),
        (&["hunter22", "hunter22", "."], &["***", "", ".", ""]),
    ];
    for (chunks, expected) in cases {
        assert_eq!(streamed(&set(&["hunter22"]), chunks), *expected);
    }
}

#[test]
fn an_idle_stream_shows_at_most_three_bytes_of_a_secret() {
    let cases = [
        ("push", "pus", "h", 0, "***"),
        ("push\n", "pus", "h\n", 0, "***"),
        ("Password: hun", "Password: ", "hun", 0, "***"),
        ("Password: hunt", "Password: ", "", 4, "***"),
        ("Password: ", "Password: ", "", 0, "unter22"),
    ];
    for (chunk, pushed, idle, pending, rest) in cases {
        let mut masker = Masker::new(&set(&["hunter22"]));
        let mut out = Vec::new();
        masker.push(chunk.as_bytes(), &mut out);
        assert_eq!(out, pushed.as_bytes(), "{chunk}");
        masker.flush_idle(&mut out);
        masker.flush_idle(&mut out);
        assert_eq!(out, [pushed, idle].concat().as_bytes(), "{chunk}");
        assert_eq!(masker.pending(), pending, "{chunk}");
        let before = out.len();
        let begun = ["hunt", "hun", "h"].iter().find(|begun| chunk.trim_end().ends_with(*begun));
        let follows = &"hunter22"[begun.map_or(1, |begun| begun.len())..];
        masker.push(follows.as_bytes(), &mut out);
        masker.flush(&mut out);
        assert_eq!(String::from_utf8_lossy(&out[before..]), rest, "{chunk}");
    }
}

#[test]
fn too_many_line_breaks_end_a_secret() {
    let set = set(&["hunter22"]);
    let text = |count| format!("hunt{}er22", "\n".repeat(count));
    assert_eq!(set.mask(&text(16)), "***");
    assert_eq!(set.mask(&text(17)), text(17));
    let mut masker = Masker::new(&set);
    let mut out = Vec::new();
    masker.push(b"hunt", &mut out);
    for _ in 0..1000 {
        masker.push(b"\n", &mut out);
    }
    assert_eq!(masker.pending(), 0);
    assert_eq!(out.len(), 1004);
}

#[test]
fn short_secrets_are_named() {
    let cases = [
        ("", true),
        ("\n\r\n", true),
        ("12345\n", true),
        ("  12345  ", true),
        ("1\n2345", true),
        ("123456", false),
    ];
    for (value, expected) in cases {
        let set =
            SecretSet::new([("pin", SecretValue::new(value)), ("pin", SecretValue::new(value))]);
        assert_eq!(set.too_short(), if expected { vec!["pin"] } else { vec![] }, "{value:?}");
        assert_eq!(set.is_empty(), expected, "{value:?}");
        let text = format!("pin {value} pin");
        assert_eq!(set.mask(&text) == text, expected, "{value:?}");
    }
    assert!(SecretSet::default().too_short().is_empty());
}

#[test]
fn a_set_grows() {
    let first = SecretSet::default().with([("a", SecretValue::new("hunter22"))]);
    let second = first.with([("b", SecretValue::new("swordfish")), ("c", SecretValue::new("x"))]);
    let text = "hunter22 swordfish x";
    assert_eq!(first.mask(text), "*** swordfish x");
    assert_eq!(second.mask(text), "*** *** x");
    assert_eq!(second.too_short(), ["c"]);
    assert_eq!(format!("{second:?}"), r#"{"a": ***, "b": ***, "c": ***}"#);
    let none: [(&str, SecretValue); 0] = [];
    assert_eq!(second.with(none).mask(text), "*** *** x");
}

#[test]
fn nothing_is_copied_without_need() {
    let set = set(&["hunter22"]);
    assert!(matches!(set.mask("nothing to hide"), Cow::Borrowed("nothing to hide")));
    assert!(matches!(SecretSet::default().mask_bytes(b"hunter22"), Cow::Borrowed(b"hunter22")));
}

#[test]
fn bytes_that_are_no_text_are_hidden() {
    let value: Vec<u8> = vec![0xA9, 0, 0xFF, b'x', 0xC3, 0x28, 0x80];
    let set = SecretSet::new([("key", SecretValue::new(value.clone()))]);
    let text = [b"<", &value[..], b">"].concat();
    assert_eq!(set.mask_bytes(&text).as_ref(), b"<***>");
    assert_eq!(set.mask(&String::from_utf8_lossy(&text)), "<***>");
    assert_eq!(set.mask("a900ff78c32880"), "***");
    assert_eq!(set.mask(r"\xa9\x00\xffx\xc3(\x80"), "***");
    assert_eq!(set.mask("%A9%00%FFx%C3%28%80"), "***");
    // The secret is half of a character.
    let half =
        SecretSet::new([("key", SecretValue::new(vec![0xA9, b'a', b'b', b'c', b'd', b'e']))]);
    assert_eq!(half.mask("éabcde"), "\u{fffd}***");
}

#[test]
fn a_stream_that_was_cut_shows_no_beginning_of_a_secret() {
    let cases: &[(&[&str], &str)] = &[
        (&["token: hunter2"], "token: ***"),
        (&["token: hun", "ter"], "token: ***"),
        (&["token: hun\nter\n"], "token: ***\n"),
        (&["token: hunte"], "token: hunte"),
        (&["hunter22hunter"], "***"),
        (&["the end\n"], "the end\n"),
        (&[""], ""),
    ];
    for (chunks, shown) in cases {
        let mut masker = Masker::new(&set(&["hunter22"]));
        let mut out = Vec::new();
        chunks.iter().for_each(|chunk| masker.push(chunk.as_bytes(), &mut out));
        masker.flush_cut(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), *shown, "{chunks:?}");
    }
    let mut masker = Masker::new(&set(&["hunter22"]));
    let mut out = Vec::new();
    masker.push(b"hun", &mut out);
    masker.flush_idle(&mut out);
    masker.push(b"ter", &mut out);
    masker.flush_cut(&mut out);
    assert_eq!(out, b"hun***");
}
