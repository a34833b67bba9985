//! What belongs to a tree that is kept.

use std::path::Path;

/// A tree that an import has filled, and what belongs to it. All are on one file system, and nobody else uses
/// them during an import.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// The directory that was filled.
    pub tree: &'a Path,
    /// The file with the index, outside of the tree.
    pub index: &'a Path,
    /// A directory outside of the tree that takes directories which the tree is rid of. The caller deletes what
    /// is in it.
    pub trash: &'a Path,
}
