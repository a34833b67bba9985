//! Names of branches, tags and commits.

use crate::error::{ResourceError, printable};

/// Whether git takes this for the part of a ref after `refs/heads/` or `refs/tags/` (git-check-ref-format(1)), and
/// for no option.
pub fn is_valid(name: &str) -> bool {
    let forbidden = |letter: char| letter.is_control() || " ~^:?*[\\".contains(letter);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.is_empty()
        && name != "@"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && name.split('/').all(part)
}

pub fn valid_branch(field: &str, name: String) -> Result<String, ResourceError> {
    if is_valid(&name) {
        return Ok(name);
    }
    Err(ResourceError::failed(format!(
        "`{field}` is `{}`, which is no name of a branch",
        printable(&name)
    )))
}

/// Whether it is the whole name of an object: SHA-1 or SHA-256.
pub fn is_object(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_git_allows() {
        for name in ["main", "feature/a-b", "v1.0", "ü", "a@b"] {
            assert!(is_valid(name), "{name}");
        }
        for name in [
            "", "-x", "--all", "a..b", "a b", "a\nb", "/a", "a/", "a//b", ".a", "a.lock", "a~1",
            "@", "a:b",
        ] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
