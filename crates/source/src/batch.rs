//! Work on many files, spread over a few threads that end with it.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::SourceError;

/// Most threads of one import: the kernel copies memory with them, and file systems let few write at a time.
const MOST: usize = 8;

/// Runs `work` with threads that are gone when this returns.
pub fn with_threads<T: Send>(work: impl FnOnce(&ThreadPool) -> T + Send) -> Result<T, SourceError> {
    let threads = available_parallelism().map_or(2, usize::from).clamp(2, MOST);
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    let builder = builder.thread_name(|number| format!("import-{number}"));
    let started = builder.build_scoped(|thread| thread.run(), |pool| pool.install(|| work(pool)));
    started.map_err(|error| SourceError::Io {
        action: "start threads for",
        path: "the import".to_owned(),
        cause: io::Error::other(error),
    })
}

/// Calls `work` with each item, in order as far as several threads have one. Each thread has a state of its own.
/// The first error ends it.
pub fn each<T: Sync, S>(
    pool: &ThreadPool,
    items: &[T],
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<(), SourceError> + Sync,
) -> Result<(), SourceError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    pool.broadcast(|_| {
        let mut state = state();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(&mut state, item) {
                // The others find nothing more to do.
                next.fetch_max(items.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
