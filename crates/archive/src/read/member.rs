//! An entry as an archive describes it.

use crate::format::extents::Extents;
use crate::tree::stat::Meta;
use crate::tree::xattr::Xattr;

/// An entry as the archive describes it; nothing of it has been checked.
#[derive(Debug)]
pub struct Member {
    pub path: Vec<u8>,
    pub kind: MemberKind,
    pub meta: Meta,
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug)]
pub enum MemberKind {
    /// With its size in bytes. For a sparse file also where its data belongs.
    File(u64, Option<Extents>),
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    /// What is neither made nor refused: a pipe.
    Fifo,
    Device,
}
