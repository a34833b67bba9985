//! Why a tree is not brought up to date.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{SourceError, shown};

#[derive(Debug)]
pub enum Stop {
    /// A new import may succeed.
    Unusable(String),
    Failed(SourceError),
}

impl Stop {
    pub fn unusable(reason: &str) -> Self {
        Self::Unusable(reason.to_owned())
    }

    /// A call on something in the tree failed.
    pub fn at(path: &Path, errno: Errno) -> Self {
        Self::Unusable(format!("`{}` cannot be used: {}", shown(path), std::io::Error::from(errno)))
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        if error.is_of_copy() { Self::Unusable(error.to_string()) } else { Self::Failed(error) }
    }
}
