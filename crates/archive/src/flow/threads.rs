//! Threads that work on one archive.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::control::Control;

/// Starts a thread. If it panics, or cannot be started, the work on the archive ends with that as its
/// [failure](Control::failure), and nothing goes on waiting for the thread.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    control: &Control,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, Option<T>>> {
    let failing = control.clone();
    let guarded = move || match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) => {
            failing.fail(format!("thread `{name}` panicked: {}", message(&*panic)));
            None
        }
    };
    match Builder::new().name(name.to_owned()).spawn_scoped(scope, guarded) {
        Ok(thread) => Some(thread),
        Err(error) => {
            control.fail(format!("cannot start thread `{name}`: {error}"));
            None
        }
    }
}

/// What a panic says.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
