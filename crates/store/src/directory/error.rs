//! What went wrong with a file of a store.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::StoreError;

/// Nothing is there, and nothing can be.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub fn no_file(path: &Path) -> StoreError {
    let what = "it is no regular file, move it away or choose another `cache_prefix`";
    io(path)(io::Error::other(what))
}

pub fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}
