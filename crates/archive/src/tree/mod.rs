//! A directory tree: what its file system says, and what is known of it by digests.

pub mod digest;
pub mod file_index;
pub mod kept;
pub mod policy;
pub mod stat;
pub mod walk;
pub mod xattr;
