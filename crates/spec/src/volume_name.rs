//! The names that a volume may have.

use std::fmt;

/// Longest name in bytes, so that a name still fits an object store's key with its prefix.
const MAX_BYTES: usize = 512;

/// A volume's name: 1 to 512 bytes of UTF-8 without control characters, whose parts between
/// slashes are neither empty nor `.` nor `..`.
///
/// Drivers map it to whatever their engine allows; equal names are the same volume of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeName(String);

impl VolumeName {
    pub fn new(name: impl Into<String>) -> Result<Self, VolumeNameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(VolumeNameError::Empty);
        }
        if name.len() > MAX_BYTES {
            return Err(VolumeNameError::TooLong(name.len()));
        }
        if let Some(found) = name.chars().find(|c| c.is_control()) {
            return Err(VolumeNameError::Control(found));
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(VolumeNameError::Path(name));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum VolumeNameError {
    #[error("expected a volume name, got an empty string")]
    Empty,
    #[error("expected a volume name of at most {MAX_BYTES} bytes, got {0} bytes")]
    TooLong(usize),
    #[error("expected a volume name without control characters, got `{}`", .0.escape_default())]
    Control(char),
    #[error(
        "expected a volume name whose parts between slashes are not empty, `.` or `..`, got `{0}`"
    )]
    Path(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_become_keys_are_accepted() {
        for name in ["cache", "cache-.cache-go-build", "a/b c", "🚀", "..a", &"x".repeat(512)] {
            assert_eq!(VolumeName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_reach_elsewhere_are_refused() {
        for name in ["..", "../x", "a/../b", "a/./b", "/a", "a//b", "a/"] {
            assert_eq!(VolumeName::new(name), Err(VolumeNameError::Path(name.into())));
        }
        assert_eq!(VolumeName::new(""), Err(VolumeNameError::Empty));
        assert_eq!(VolumeName::new("a\nb"), Err(VolumeNameError::Control('\n')));
        assert_eq!(VolumeName::new("x".repeat(513)), Err(VolumeNameError::TooLong(513)));
    }
}
