//! The few values of a repository's configuration that say where it is, read and taken out line by line.
//!
//! Git writes one setting a line. Included files are not looked at: git reads these settings before it follows
//! includes.

/// The last value of `key` in `section`, both in lower case. A key without a value is `true`.
pub fn value(text: &[u8], section: &str, key: &str) -> Option<String> {
    let mut last = None;
    each(text, |line, current| {
        if current == section
            && let Some((name, value)) = setting(line)
            && name == key
        {
            last = Some(value);
        }
    });
    last
}

/// The configuration without some keys of a section.
pub fn without(text: &[u8], section: &str, keys: &[&str]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    each(text, |line, current| {
        let is_taken_out = current == section
            && setting(line).is_some_and(|(name, _)| keys.contains(&name.as_str()));
        match (is_taken_out, header(line)) {
            (false, _) => kept.extend_from_slice(line),
            // A setting on the line of its section's header.
            (true, Some(_)) => {
                let end =
                    line.iter().position(|byte| *byte == b']').map_or(line.len(), |at| at + 1);
                kept.extend_from_slice(&line[..end]);
                kept.push(b'\n');
            }
            (true, None) => {}
        }
    });
    kept
}

/// Calls `visit` with each line, its end included, and the section that it is in.
fn each<'a>(text: &'a [u8], mut visit: impl FnMut(&'a [u8], &str)) {
    let mut section = String::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if let Some(name) = header(line) {
            section = name;
        }
        visit(line, &section);
    }
}

/// The section that a line begins, in lower case; with a subsection it is another one.
fn header(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii_start().strip_prefix(b"[")?;
    let end = line.iter().position(|byte| *byte == b']')?;
    Some(String::from_utf8_lossy(&line[..end]).trim().to_ascii_lowercase())
}

/// Key and value of a line.
fn setting(line: &[u8]) -> Option<(String, String)> {
    let mut line = line.trim_ascii();
    if line.first() == Some(&b'[') {
        let end = line.iter().position(|byte| *byte == b']')?;
        line = line[end + 1..].trim_ascii();
    }
    if line.is_empty() || matches!(line[0], b'#' | b';') {
        return None;
    }
    let text = String::from_utf8_lossy(line);
    let (key, value) = text.split_once('=').unwrap_or((&text, "true"));
    let value = value.trim().trim_matches('"');
    Some((key.trim().to_ascii_lowercase(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"[core]\n\tbare = true\n\tWorkTree = \"../x\"\n[core \"sub\"]\n\tbare = 1\n[extensions] objectformat = sha256\n";

    #[test]
    fn values_are_found_in_their_section() {
        assert_eq!(value(TEXT, "core", "bare").as_deref(), Some("true"));
        assert_eq!(value(TEXT, "core", "worktree").as_deref(), Some("../x"));
        assert_eq!(value(TEXT, "extensions", "objectformat").as_deref(), Some("sha256"));
        assert_eq!(value(TEXT, "user", "bare"), None);
    }

    #[test]
    fn keys_are_taken_out_of_their_section_alone() {
        let kept = without(TEXT, "core", &["bare", "worktree"]);
        let expected = "[core]\n[core \"sub\"]\n\tbare = 1\n[extensions] objectformat = sha256\n";
        assert_eq!(String::from_utf8(kept).unwrap(), expected);
        let kept = without(TEXT, "extensions", &["objectformat"]);
        assert!(kept.ends_with(b"[extensions]\n"));
    }
}
