//! What must not be shown, for everything that this process shows.
//!
//! The set is the process's and not a run's: errors, panics and the log of `CI_LOG` are shown by code that
//! knows of no run. A secret that is found out later, such as a registry's password, is added then.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use mask::{Masker, SecretSet, SecretValue};

use diagnostic::{Diagnostic, Place};

static SECRETS: RwLock<Option<SecretSet>> = RwLock::new(None);

/// From now on none of these values is shown.
pub fn add(values: impl IntoIterator<Item = (String, SecretValue)>) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return;
    }
    let mut known = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    *known = Some(known.take().unwrap_or_default().with(values));
}

fn known() -> Option<SecretSet> {
    SECRETS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether nothing has to be masked.
pub fn is_idle() -> bool {
    SECRETS.read().unwrap_or_else(PoisonError::into_inner).is_none()
}

/// The names of secrets that are too short to be told from any other text.
pub fn unmasked() -> Vec<String> {
    known().map_or_else(Vec::new, |secrets| secrets.too_short().to_vec())
}

/// A text as it may be shown.
pub fn text(text: &str) -> Cow<'_, str> {
    match known() {
        Some(secrets) => secrets.mask(text),
        None => Cow::Borrowed(text),
    }
}

/// Masks a text where it is.
pub fn hide(shown: &mut String) {
    if let Cow::Owned(masked) = text(shown) {
        *shown = masked;
    }
}

/// For a stream of bytes. `None` if nothing has to be masked.
pub fn stream() -> Option<Masker> {
    known().filter(|secrets| !secrets.is_empty()).map(|secrets| Masker::new(&secrets))
}

/// Masks each text of a diagnostic. As it is shown to a person, a text may be cut and the parts apart.
pub fn hide_in(diagnostic: &mut Diagnostic) {
    let Diagnostic { message, place, stack, help, causes, label: _ } = diagnostic;
    hide(message);
    if let Some(Place { path, line: _, column: _, text }) = place {
        [path, text].into_iter().for_each(hide);
    }
    stack.iter_mut().chain(help).for_each(hide);
    causes.iter_mut().for_each(hide_in);
}
