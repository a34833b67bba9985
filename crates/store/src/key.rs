//! The names of objects in a store.
//!
//! A volume's name is one part of its key: `/` and `%` in it are encoded, so that a key tells which part is a
//! prefix. Prefixes may have slashes: they are the operator's, names of volumes are the pipeline's.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use archive::Compression;
use spec::VolumeName;

/// Longest key in bytes that S3 takes.
const MAX_KEY_BYTES: usize = 1024;

/// Longest prefix in bytes, as long as a volume's name may be.
const MAX_PREFIX_BYTES: usize = 512;

/// Longest encoded name of a volume in bytes. With its extension it fits into the 255 bytes that file
/// systems allow.
const MAX_ENCODED_BYTES: usize = 240;

/// What the names of files start with that a directory store keeps beside its objects.
const RESERVED: &str = ".ci-";

/// How keys are made; stands in the metadata of each object. Objects without it may have a key of
/// [`CacheKey::legacy`].
pub const KEY_VERSION: u64 = 2;

/// The name of an object in a store: `{url-prefix}/{cache_prefix}/{volume}.tar.zst`.
///
/// At most 1024 bytes of UTF-8 without control characters, whose parts between slashes are neither
/// empty nor `.` nor `..`, so that it means the same to S3 and to a file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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
    ///
    /// The volume is the last part of the key, whatever its name: `/` and `%` are percent-encoded. So
    /// volume `main/v` is not volume `v` below the prefix `main`, and two prefixes share no key.
    pub fn new(
        prefixes: &[&KeyPrefix],
        volume: &VolumeName,
        compression: Compression,
    ) -> Result<Self, CacheKeyError> {
        Self::of(prefixes, &encoded(volume.as_str()), compression)
    }

    /// The key that versions before [`KEY_VERSION`] 2 gave the volume, if it was another one.
    pub fn legacy(
        prefixes: &[&KeyPrefix],
        volume: &VolumeName,
        compression: Compression,
    ) -> Result<Option<Self>, CacheKeyError> {
        match encoded(volume.as_str()) == volume.as_str() {
            true => Ok(None),
            false => Self::of(prefixes, volume.as_str(), compression).map(Some),
        }
    }

    fn of(
        prefixes: &[&KeyPrefix],
        name: &str,
        compression: Compression,
    ) -> Result<Self, CacheKeyError> {
        let mut key = String::new();
        for prefix in prefixes.iter().filter(|prefix| !prefix.is_empty()) {
            key.push_str(&prefix.0);
            key.push('/');
        }
        key.push_str(name);
        key.push('.');
        key.push_str(compression.extension());
        key.parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key has the form that [`CacheKey::new`] gives it. What has another one was not put
    /// there by this program.
    pub fn is_archive(&self) -> bool {
        self.volume().is_some()
    }

    /// How the archive is compressed, by its key.
    pub fn compression(&self) -> Option<Compression> {
        Compression::ALL.into_iter().find(|compression| self.stem(*compression).is_some())
    }

    /// The last part of the key, decoded: the name of the volume, unless the name was so long that only
    /// a part of it is in the key. `None` if this is not the key of an archive.
    pub fn volume(&self) -> Option<String> {
        let stem = self.stem(self.compression()?)?;
        Some(percent_decode_str(stem).decode_utf8().map_or_else(|_| stem.to_owned(), Into::into))
    }

    fn stem(&self, compression: Compression) -> Option<&str> {
        let name = self.0.rsplit('/').next()?;
        let stem = name.strip_suffix(compression.extension())?.strip_suffix('.')?;
        (!stem.is_empty() && !stem.starts_with(RESERVED)).then_some(stem)
    }
}

/// What would make a name more than one part of a key, or not the same one again when it is decoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// A volume's name as one part of a key.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for part in name.split_inclusive(['/', '%']) {
        let (plain, special) = match part.char_indices().next_back() {
            Some((at, '/' | '%')) => part.split_at(at),
            _ => (part, ""),
        };
        text.push_str(plain);
        text.extend(utf8_percent_encode(special, ENCODED));
    }
    if text.starts_with(RESERVED) {
        text.replace_range(..1, "%2E");
    }
    // An ordinary name stays what it is, however long: S3 takes it.
    if text == name || text.len() <= MAX_ENCODED_BYTES {
        return text;
    }
    // No other name ends so: a `%` that is not followed by two digits is never written otherwise.
    let end = format!("%-{}", &blake3::hash(name.as_bytes()).to_hex()[..32]);
    let kept = text.floor_char_boundary(MAX_ENCODED_BYTES - end.len());
    // Nor may an escape be cut off.
    let kept = text[..kept].rfind('%').filter(|at| at + 3 > kept).unwrap_or(kept);
    text.truncate(kept);
    text + &end
}

impl FromStr for CacheKey {
    type Err = CacheKeyError;

    fn from_str(key: &str) -> Result<Self, CacheKeyError> {
        check(key, MAX_KEY_BYTES)?;
        Ok(Self(key.into()))
    }
}

impl From<CacheKey> for String {
    fn from(key: CacheKey) -> Self {
        key.0
    }
}

impl TryFrom<String> for CacheKey {
    type Error = CacheKeyError;

    fn try_from(key: String) -> Result<Self, CacheKeyError> {
        key.parse()
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl KeyPrefix {
    pub(crate) const EMPTY: Self = Self(String::new());

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
        self.below(key).is_some()
    }

    /// What `key` is called below this prefix.
    pub fn below<'a>(&self, key: &'a CacheKey) -> Option<&'a str> {
        match self.is_empty() {
            true => Some(&key.0),
            false => key.0.strip_prefix(&self.0)?.strip_prefix('/'),
        }
    }
}

impl FromStr for KeyPrefix {
    type Err = CacheKeyError;

    /// One slash at the end changes nothing: `main/` is `main`.
    fn from_str(prefix: &str) -> Result<Self, CacheKeyError> {
        let prefix = match prefix.strip_suffix('/') {
            Some("") | None => prefix,
            Some(prefix) => prefix,
        };
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

    fn key(prefixes: &[&str], volume: &str, compression: Compression) -> CacheKey {
        let prefixes: Vec<KeyPrefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        let prefixes: Vec<&KeyPrefix> = prefixes.iter().collect();
        let volume = VolumeName::new(volume).unwrap();
        CacheKey::new(&prefixes, &volume, compression).unwrap()
    }

    fn zstd(prefix: &str, volume: &str) -> String {
        key(&[prefix], volume, Compression::Zstd).to_string()
    }

    #[test]
    fn empty_parts_vanish() {
        assert_eq!(zstd("", "build-cache"), "build-cache.tar.zst");
        assert_eq!(zstd("myproject", "cache-node_modules"), "myproject/cache-node_modules.tar.zst");
        let gzip = key(&["ci", "main"], "vendor", Compression::Gzip);
        assert_eq!(gzip.as_str(), "ci/main/vendor.tar.gzip");
        assert_eq!(key(&["a/b", ""], "c d e", Compression::None).as_str(), "a/b/c d e.tar");
        assert_eq!(zstd("", "ünï 🚀+&?#"), "ünï 🚀+&?#.tar.zst");
    }

    #[test]
    fn a_volume_is_one_part_of_its_key() {
        let table = [
            ("", "main/v", "main%2Fv.tar.zst"),
            ("main", "v", "main/v.tar.zst"),
            ("", "main%2Fv", "main%252Fv.tar.zst"),
            ("ci", "main/v", "ci/main%2Fv.tar.zst"),
            ("ci/main", "v", "ci/main/v.tar.zst"),
            ("", "100%", "100%25.tar.zst"),
            ("", ".ci-temp-x", "%2Eci-temp-x.tar.zst"),
            ("", "%2Eci-temp-x", "%252Eci-temp-x.tar.zst"),
            ("", "ü/🚀", "ü%2F🚀.tar.zst"),
        ];
        for (prefix, volume, expected) in table {
            let key = key(&[prefix], volume, Compression::Zstd);
            assert_eq!(key.as_str(), expected);
            assert_eq!(key.volume().as_deref(), Some(volume));
        }
    }

    #[test]
    fn two_volumes_never_share_a_key() {
        let parts = ["", "a", "b", "/", "%", "%2F", "%2f", "%25", ".", ".ci-", "a.tar", ".tar.zst"];
        let mut seen = std::collections::HashMap::new();
        let mut names = vec![String::new()];
        for _ in 0..3 {
            let longer = |name: &String| parts.map(|part| format!("{name}{part}"));
            names = names.iter().flat_map(longer).collect();
        }
        for (prefix, volume) in ["", "a", "a/b", "b"]
            .iter()
            .flat_map(|prefix| names.iter().map(move |name| (prefix, name)))
        {
            let Ok(volume) = VolumeName::new(volume.clone()) else { continue };
            for compression in Compression::ALL {
                let prefixes: KeyPrefix = prefix.parse().unwrap();
                let key = CacheKey::new(&[&prefixes], &volume, compression).unwrap();
                assert!(key.is_archive(), "{key}");
                let owner = (*prefix, volume.clone(), compression.extension());
                let other = seen.insert(key.clone(), owner.clone());
                assert!(other.as_ref().is_none_or(|other| *other == owner), "{key}: {other:?}");
            }
        }
    }

    #[test]
    fn long_names_with_slashes_fit_into_a_file_name() {
        for length in [100, 118, 119, 120, 121, 122, 240, 241, 255] {
            let long = format!("{}/{}", "ü".repeat(length / 2), "%".repeat(length));
            let other = format!("{long}x");
            let key = zstd("", &long);
            assert!(key.len() <= 255, "{length}: {key}");
            assert!(!key.contains('/'));
            assert_ne!(key, zstd("", &other));
        }
        // What was an ordinary name stays one.
        let long = "x".repeat(512);
        assert_eq!(zstd("", &long), format!("{long}.tar.zst"));
    }

    #[test]
    fn older_versions_had_other_keys_for_some_names() {
        let legacy = |volume: &str| {
            let volume = VolumeName::new(volume).unwrap();
            let key = CacheKey::legacy(&[&"p".parse().unwrap()], &volume, Compression::Zstd);
            key.unwrap().map(|key| key.to_string())
        };
        assert_eq!(legacy("v"), None);
        assert_eq!(legacy("main/v").as_deref(), Some("p/main/v.tar.zst"));
        assert_eq!(legacy("100%").as_deref(), Some("p/100%.tar.zst"));
    }

    #[test]
    fn what_has_another_form_is_no_archive() {
        for text in [
            "prod/backup.sql",
            "thesis.docx",
            ".tar",
            "a/.tar.zst",
            "a.tar.zst.bak",
            "a.tar.gz",
            "a.TAR",
            ".ci-probe",
            ".ci-temp-x.tar",
            "tar",
            "a.zst",
        ] {
            assert!(!text.parse::<CacheKey>().unwrap().is_archive(), "{text}");
        }
        for text in ["v.tar.zst", "v.tar.gzip", "v.tar", "a/b/v.tar", "100%.tar"] {
            assert!(text.parse::<CacheKey>().unwrap().is_archive(), "{text}");
        }
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
        for text in ["../x", "/", "//", "a//", "/a"] {
            assert!(matches!(text.parse::<KeyPrefix>(), Err(CacheKeyError::Path(_))), "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let prefix: KeyPrefix = "ci/main".parse().unwrap();
        assert!(prefix.contains(&"ci/main/a.tar".parse().unwrap()));
        assert!(!prefix.contains(&"ci/main2/a.tar".parse().unwrap()));
        assert!(!prefix.contains(&"ci/main".parse().unwrap()));
        assert!(KeyPrefix::default().contains(&"a".parse().unwrap()));
        assert_eq!("q/".parse::<KeyPrefix>(), "q".parse());
    }
}
