//! Why a store failed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::key::CacheKey;

/// The messages say what to do; a variant exists where a caller decides by it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configuration has to change: bucket, region, endpoint.
    #[error("{0}")]
    Misconfigured(String),
    /// Credentials, rights or the clock have to change.
    #[error("{0}")]
    Denied(String),
    /// The store cannot be reached or is overloaded; it may work later.
    #[error("{0}")]
    Unavailable(String),
    #[error(
        "`{key}` made no progress for {} in {attempts} attempts, check the connection or raise `cache_stall`",
        humantime::format_duration(*stall)
    )]
    Stalled { key: CacheKey, stall: Duration, attempts: u32 },
    #[error(
        "the transfer of `{key}` was given up after {}, raise `cache_budget` to allow more",
        humantime::format_duration(*budget)
    )]
    OverBudget { key: CacheKey, budget: Duration },
    /// Another writer replaced or removed the object while it was read; reading again may work.
    #[error("`{key}` was replaced by another writer while it was read, read it again")]
    Changed { key: CacheKey },
    /// The condition of a `put` does not hold any more; nothing was published.
    #[error("another run has replaced `{key}` since it was read")]
    Replaced { key: CacheKey },
    /// Another program wrote what is under the key of a `put`; nothing was published.
    #[error(
        "`{key}` was not written by `ci`, remove it with `ci cache rm --include-foreign` or choose another `cache_prefix`"
    )]
    Foreign { key: CacheKey },
    /// Bytes are missing or too many.
    #[error("of `{key}` {got} bytes arrived instead of {expected}, read it again")]
    Length { key: CacheKey, expected: u64, got: u64 },
    /// The sender of an upload went away before its end; nothing was published.
    #[error("the archive for `{key}` was not finished, the object in the store is unchanged")]
    Unfinished { key: CacheKey },
    #[error("cannot use `{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Other(String),
}
