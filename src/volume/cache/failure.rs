//! What a failed restore means for the archive in the store.

/// What a persist may put a volume in the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// Whatever is there: of runs that succeed, the last one wins.
    Anything,
    /// Only the damaged archive with this etag.
    Version(String),
    /// Nothing, for this reason: the archive may be good, and the volume lacks what it holds.
    Nothing(String),
}
