//! A secret.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A secret, which is shown nowhere by accident. Its bytes are overwritten when the last clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Zeroizing<Vec<u8>>>);

impl SecretValue {
    /// Takes the bytes without copying them.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_shown() {
        let value = SecretValue::new("hunter22");
        assert_eq!(format!("{value:?} {:?}", Some(value.clone())), "*** Some(***)");
        assert_eq!(value.expose(), b"hunter22");
    }
}
