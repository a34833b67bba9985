//! Names in an archive: what they may be, and where links lead.

/// A path as people see it.
pub fn shown(path: &[u8]) -> String {
    match path {
        b"" => ".".to_owned(),
        path => path.escape_ascii().to_string(),
    }
}

/// A name in an archive as a path below the root, without `.` and empty parts; the root itself is
/// empty. An error says what is wrong with it.
pub fn below_root(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.starts_with(b"/") {
        return Err("its path is absolute");
    }
    if name.contains(&0) {
        return Err("its path has a NUL character");
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its path has a `..`"),
            // What every file system of Linux allows.
            part if part.len() > 255 => return Err("a part of its path has more than 255 bytes"),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// The directory of a path and its last part. The root has neither.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

/// Whether a symbolic link at `path` leads out of the tree, as far as its text tells.
///
/// A link without `..` leads out only through another one, which is looked at itself.
pub fn leads_out(path: &[u8], target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut depth = path.iter().filter(|byte| **byte == b'/').count();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

/// Whether only the file system can tell where a link leads.
pub fn goes_up(target: &[u8]) -> bool {
    target.split(|byte| *byte == b'/').any(|part| part == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_below_the_root() {
        for (name, path) in [
            ("./", ""),
            (".", ""),
            ("./a//b/./c/", "a/b/c"),
            ("..a/b..", "..a/b.."),
            ("a b\n", "a b\n"),
        ] {
            assert_eq!(below_root(name.as_bytes()).as_deref(), Ok(path.as_bytes()), "{name}");
        }
        for name in ["/etc/passwd", "..", "a/../../b", "a/..", "a\0b", &"x".repeat(256)] {
            assert!(below_root(name.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn links_lead_out_by_absolute_paths_and_by_going_up() {
        for (path, target, out) in [
            ("a", "b", false),
            ("a", "/b", true),
            ("a", "..", true),
            ("a/b", "..", false),
            ("a/b", "../..", true),
            ("a/b", "../c/../../d", true),
            ("a/b", "c/d/../../../e", false),
        ] {
            assert_eq!(leads_out(path.as_bytes(), target.as_bytes()), out, "{path} → {target}");
        }
    }
}
