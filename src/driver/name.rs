//! Names of tasks and volumes as names of directories.

/// Most bytes that are kept of a name, so that the result fits every file system with room for
/// suffixes, and so that a path of several stays short.
const KEPT: usize = 80;

/// Turns any text into a file name that is safe and readable: what could be misread becomes `-`.
///
/// A name that had to change, or that looks like one that did, ends with a hash of the original.
/// So two names never share a directory, not on a file system that ignores case either, and none
/// ends with `.` and a number, which tells tasks apart that have the same name.
pub fn encoded(name: &str) -> String {
    let mut kept: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .take(KEPT)
        .collect();
    let plain = kept == name
        && kept.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && !kept.contains(|c: char| c.is_ascii_uppercase())
        && !has_number(&kept)
        && !has_hash(&kept);
    if plain {
        return kept;
    }
    // Neither hidden, nor an option to the tools that get it as an argument, nor empty.
    if !kept.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        kept.insert(0, '_');
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!("{kept}-{}", &hash[..8])
}

/// The directory of the `index`th of the tasks that run under one name at the same time.
pub fn instance(encoded: &str, index: usize) -> String {
    match index {
        0 => encoded.to_owned(),
        _ => format!("{encoded}.{}", index + 1),
    }
}

fn has_number(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()))
}

fn has_hash(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, end)| end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn readable_names_stay_and_others_get_a_hash() {
        let table = [
            ("build", "build"),
            ("unit_tests-1", "unit_tests-1"),
            ("node.js", "node.js"),
            ("", "_-af1349b9"),
            ("..", "_..-ee7fc388"),
            ("-rf", "_-rf-773b10a7"),
            ("Build", "Build-f5658251"),
            ("a/b c", "a-b-c-b8a92d99"),
            ("🚀", "_--e6d4dd99"),
            ("build.2", "build.2-325f2fa2"),
        ];
        let found = table.map(|(name, _)| (name, encoded(name)));
        let expected = table.map(|(name, directory)| (name, directory.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn no_two_names_share_a_directory() {
        let long = "x".repeat(300);
        let names = [
            "",
            ".",
            "..",
            "-",
            "_",
            "_-",
            "a",
            "A",
            "a.2",
            "A.2",
            "a.2.2",
            "a.",
            "a/b",
            "a-b",
            "a b",
            "a\u{301}",
            "á",
            "🚀",
            "🚁",
            "\0",
            "a\0",
            "node-18.2",
            &long,
            &long[1..],
        ];
        let mut seen = HashSet::new();
        for name in names {
            let once = encoded(name);
            // What one name becomes is taken by no other.
            for name in [name, &once] {
                for index in 0..3 {
                    let directory = instance(&encoded(name), index).to_lowercase();
                    assert!(directory.len() <= 96, "{directory}");
                    assert!(!directory.contains('/') && !directory.starts_with(['.', '-']));
                    let new = seen.insert(directory.clone());
                    assert!(new || name == once, "{name}: {directory}");
                }
            }
        }
    }
}
