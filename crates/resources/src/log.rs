//! Lines for people, without secrets.

use std::cell::RefCell;
use std::io::Write;

use mask::{Masker, SecretSet};

use crate::error::printable;

pub struct Log<'a> {
    to: RefCell<&'a mut dyn Write>,
    secrets: SecretSet,
}

impl<'a> Log<'a> {
    pub fn new(to: &'a mut dyn Write, secrets: SecretSet) -> Self {
        Self { to: RefCell::new(to), secrets }
    }

    /// One line. A log that cannot be written stops nothing.
    pub fn line(&self, text: &str) {
        let line = printable(&self.secrets.mask(text));
        _ = writeln!(self.to.borrow_mut(), "{line}");
    }

    /// Output of a program as it came, but for secrets.
    pub fn raw(&self, bytes: &[u8]) {
        let mut to = self.to.borrow_mut();
        _ = to.write_all(bytes).and_then(|()| to.flush());
    }

    /// Takes secrets out of a program's output.
    pub fn masker(&self) -> Masker {
        Masker::new(&self.secrets)
    }
}
