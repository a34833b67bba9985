//! Why a module cannot be loaded, and what to do about it.

use diagnostic::Diagnostic;

/// What a module may import, for errors that refuse something else.
const SUPPORTED: &str = "a pipeline imports files by relative path (`./build.ts`), JSON with \
    `with { type: \"json\" }`, and ES modules from the nearest `node_modules` by name";

/// Why a module cannot be loaded.
#[derive(Debug)]
pub struct Problem(pub Box<Diagnostic>);

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Diagnostic::new(message)))
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self(Box::new(self.0.help(help)))
    }
}

/// A specifier that names something which exists but is of no use here.
pub fn refused(specifier: &str, reason: &str) -> Problem {
    Problem::new(format!("cannot import `{specifier}`: {reason}")).help(SUPPORTED)
}

/// The answer to an import of a module that Node.js has built in.
pub const NO_BUILT_INS: &str =
    "pipelines have no Node.js built-ins; what touches files or the network belongs into a task";
