//! The names of objects in a store.

use std::fmt;
use std::str::FromStr;

use crate::archive::Compression;
use crate::volume::VolumeName;

/// Longest key in bytes that S3 takes.
const MAX_KEY_BYTES: usize = 1024;

/// Longest prefix in bytes, as long as a volume's name may be.
const MAX_PREFIX_BYTES: usize = 512;

/// The name of an object in a store: `{url-prefix}/{cache_prefix}/{volume}.tar.zst`.
///
/// At most 1024 bytes of UTF-8 without control characters, whose parts between slashes are neither
/// empty nor `.` nor `..`, so that it means the same to S3 and to a file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(String);

/// What keys of a project begin with, without the slash after it; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyPrefix(String);

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum CacheKeyError {
    #[error("expected at most {limit} bytes, got {got} bytes, use shorter names or prefixes")]
    TooLong { limit: usize, got: usize },
    #[error("expected no control characters, got `{}`", .0.escape_default())]
    Control(char),
    #[error("expected parts between slashes that are not empty, `.` or `..`, got `{0}`")]
    Path(String),
}

impl CacheKey {
    /// The key of a volume's archive; empty prefixes vanish.
    pub fn new(
        prefixes: &[&KeyPrefix],
        volume: &VolumeName,
        compression: Compression,
    ) -> Result<Self, CacheKeyError> {
        let mut key = String::new();
        for prefix in prefixes.iter().filter(|prefix| !prefix.is_empty()) {
            key.push_str(&prefix.0);
            key.push('/');
        }
        key.push_str(volume.as_str());
        key.push('.');
        key.push_str(compression.extension());
        key.parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CacheKey {
    type Err = CacheKeyError;

    fn from_str(key: &str) -> Result<Self, CacheKeyError> {
        check(key, MAX_KEY_BYTES)?;
        Ok(Self(key.into()))
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl KeyPrefix {
    pub(super) const EMPTY: Self = Self(String::new());

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of what is below `below` in this prefix.
    pub fn join(&self, below: &Self) -> Result<Self, CacheKeyError> {
        match (self.0.as_str(), below.0.as_str()) {
            ("", other) | (other, "") => Ok(Self(other.into())),
            (above, below) => format!("{above}/{below}").parse(),
        }
    }

    /// Whether `key` is below this prefix.
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.is_empty() || key.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for KeyPrefix {
    type Err = CacheKeyError;

    fn from_str(prefix: &str) -> Result<Self, CacheKeyError> {
        if !prefix.is_empty() {
            check(prefix, MAX_PREFIX_BYTES)?;
        }
        Ok(Self(prefix.into()))
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check(text: &str, limit: usize) -> Result<(), CacheKeyError> {
    if text.len() > limit {
        return Err(CacheKeyError::TooLong { limit, got: text.len() });
    }
    if let Some(found) = text.chars().find(|c| c.is_control()) {
        return Err(CacheKeyError::Control(found));
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(CacheKeyError::Path(text.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefixes: &[&str], volume: &str, compression: Compression) -> String {
        let prefixes: Vec<KeyPrefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        let prefixes: Vec<&KeyPrefix> = prefixes.iter().collect();
        let volume = VolumeName::new(volume).unwrap();
        CacheKey::new(&prefixes, &volume, compression).unwrap().to_string()
    }

    #[test]
    fn empty_parts_vanish() {
        assert_eq!(key(&["", ""], "build-cache", Compression::Zstd), "build-cache.tar.zst");
        assert_eq!(
            key(&["", "myproject"], "cache-node_modules", Compression::Zstd),
            "myproject/cache-node_modules.tar.zst"
        );
        assert_eq!(key(&["ci", "main"], "vendor", Compression::Gzip), "ci/main/vendor.tar.gzip");
        assert_eq!(key(&["a/b", ""], "c/d e", Compression::None), "a/b/c/d e.tar");
    }

    #[test]
    fn keys_that_could_mean_another_object_are_refused() {
        for text in ["", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a"] {
            assert_eq!(text.parse::<CacheKey>(), Err(CacheKeyError::Path(text.into())));
        }
        assert_eq!("a\nb".parse::<CacheKey>(), Err(CacheKeyError::Control('\n')));
        assert_eq!("a\u{85}b".parse::<KeyPrefix>(), Err(CacheKeyError::Control('\u{85}')));
        let long = CacheKeyError::TooLong { limit: 1024, got: 1025 };
        assert_eq!("x".repeat(1025).parse::<CacheKey>(), Err(long));
        assert_eq!("../x".parse::<KeyPrefix>(), Err(CacheKeyError::Path("../x".into())));
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let prefix: KeyPrefix = "ci/main".parse().unwrap();
        assert!(prefix.contains(&"ci/main/a.tar".parse().unwrap()));
        assert!(!prefix.contains(&"ci/main2/a.tar".parse().unwrap()));
        assert!(!prefix.contains(&"ci/main".parse().unwrap()));
        assert!(KeyPrefix::default().contains(&"a".parse().unwrap()));
    }
}
