//! Keys and values of a DSN, as all drivers read them.

use std::time::Duration;

use crate::suggest::{did_you_mean, listed};

/// A key that the driver has, and its decoded value.
pub struct Setting {
    pub key: &'static str,
    pub value: String,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum DriverConfigError {
    #[error("unknown driver `{name}`{}, expected {}", did_you_mean(.name, .known), listed(.known))]
    UnknownDriver { name: String, known: Vec<&'static str> },
    #[error("the `{name}` driver is not built into this version yet, use {}", listed(.known))]
    NotBuiltIn { name: String, known: Vec<&'static str> },
    #[error(
        "unknown key `{key}` for the `{driver}` driver{}, expected {}",
        did_you_mean(.key, .known),
        listed(.known)
    )]
    UnknownKey { driver: &'static str, key: String, known: Vec<&'static str> },
    #[error("key `{key}` is given twice, keep one")]
    Repeated { key: &'static str },
    #[error("invalid value `{value}` for key `{key}`, expected {expected}")]
    Value { key: &'static str, value: String, expected: String },
}

/// Checks the keys of a driver's settings. Only those in `lists` may be given more than once.
pub fn known(
    driver: &'static str,
    keys: &'static [&'static str],
    lists: &[&str],
    settings: Vec<(String, String)>,
) -> Result<Vec<Setting>, DriverConfigError> {
    let mut found: Vec<Setting> = Vec::with_capacity(settings.len());
    for (key, value) in settings {
        let Some(key) = keys.iter().copied().find(|known| *known == key) else {
            // The last one, and all that start with it, are about volumes whatever the driver; the DSN's
            // parser takes them out.
            let known = keys.iter().copied().chain(["cache"]).collect();
            return Err(DriverConfigError::UnknownKey { driver, key, known });
        };
        if found.iter().any(|setting| setting.key == key) && !lists.contains(&key) {
            return Err(DriverConfigError::Repeated { key });
        }
        found.push(Setting { key, value });
    }
    Ok(found)
}

/// The error for a value that a key cannot have. `expected` says what it can have.
pub fn invalid(key: &'static str, value: &str, expected: &str) -> DriverConfigError {
    DriverConfigError::Value { key, value: value.into(), expected: expected.into() }
}

/// A time for something that a user waits for.
pub fn duration(key: &'static str, text: &str) -> Result<Duration, DriverConfigError> {
    let expected = "a duration of at most a day such as `10s` or `500ms`";
    match crate::duration::parse(text) {
        Ok(value) if value <= Duration::from_secs(86_400) => Ok(value),
        Ok(_) => Err(invalid(key, text, expected)),
        Err(error) => Err(invalid(key, text, &format!("{expected}{}", error.hint()))),
    }
}

/// A namespace becomes a directory's or another engine's name, so only what all of them take.
pub fn namespace(key: &'static str, text: String) -> Result<String, DriverConfigError> {
    let fits = (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits {
        return Ok(text);
    }
    let expected = "1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit";
    Err(invalid(key, &text, expected))
}
