//! All secrets of a task.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::forms::{self, LEAST};
use super::scan::{Cursor, Matcher};
use super::value::SecretValue;
use super::writer::Writer;

/// Secrets by name, ready to be looked for. A clone costs nothing, and neither does an empty set.
#[derive(Clone, Default)]
pub struct SecretSet(Option<Arc<Inner>>);

struct Inner {
    values: Vec<(String, SecretValue)>,
    too_short: Vec<String>,
    /// `None` if all values are too short.
    matcher: Option<Matcher>,
}

impl SecretSet {
    /// Prepares the search for all values. A name may have several.
    ///
    /// Takes time and memory linear in the bytes of all values: about a millisecond and 250 KiB for a score of tokens,
    /// 500 KiB for a PEM key, and a hundred times the size of a value of more than 4 KiB. The caller limits sizes.
    pub fn new<N: Into<String>>(values: impl IntoIterator<Item = (N, SecretValue)>) -> Self {
        Self::of(values.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The set with more secrets, which were found later.
    #[must_use]
    pub fn with<N: Into<String>>(&self, more: impl IntoIterator<Item = (N, SecretValue)>) -> Self {
        let mut values = self.0.as_ref().map_or_else(Vec::new, |inner| inner.values.clone());
        let known = values.len();
        for (name, value) in more {
            let secret = (name.into(), value);
            if !values.contains(&secret) {
                values.push(secret);
            }
        }
        if values.len() == known { self.clone() } else { Self::of(values) }
    }

    fn of(values: Vec<(String, SecretValue)>) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let mut too_short: Vec<String> = Vec::new();
        let mut patterns = Vec::new();
        for (name, value) in &values {
            if forms::is_too_short(value.expose()) {
                if !too_short.contains(name) {
                    too_short.push(name.clone());
                }
            } else {
                forms::collect(value.expose(), &mut patterns);
            }
        }
        let matcher = if patterns.is_empty() { None } else { Some(Matcher::new(patterns)) };
        Self(Some(Arc::new(Inner { values, too_short, matcher })))
    }

    /// Names of secrets that are not hidden, each once: without white space around them and without line breaks they
    /// have less than 6 bytes. Hiding them would hide parts of most texts.
    #[must_use]
    pub fn too_short(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |inner| &inner.too_short)
    }

    /// The least bytes of a secret that is hidden.
    pub const LEAST: usize = LEAST;

    /// If there is nothing to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.matcher().is_none()
    }

    /// Hides secrets in a whole text.
    #[must_use]
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A secret that is no text may begin or end within a character.
            Cow::Owned(masked) => Cow::Owned(match String::from_utf8(masked) {
                Ok(masked) => masked,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
        }
    }

    /// Hides secrets in a whole text of any bytes.
    #[must_use]
    pub fn mask_bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(matcher) = self.matcher() else { return Cow::Borrowed(text) };
        let mut writer = Writer::default();
        matcher.scan(text, 0, &mut Cursor::default(), &mut writer.runs);
        if writer.runs.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = Vec::with_capacity(text.len());
        writer.write(text, text.len(), &mut masked);
        Cow::Owned(masked)
    }

    /// A set that looks for these patterns alone.
    #[cfg(test)]
    pub(crate) fn of_patterns(patterns: Vec<Vec<u8>>) -> Self {
        let matcher = Some(Matcher::new(patterns));
        Self(Some(Arc::new(Inner { values: Vec::new(), too_short: Vec::new(), matcher })))
    }

    pub(crate) fn matcher(&self) -> Option<&Matcher> {
        self.0.as_ref()?.matcher.as_ref()
    }
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.iter().flat_map(|inner| &inner.values);
        formatter.debug_map().entries(values.map(|(name, value)| (name, value))).finish()
    }
}
