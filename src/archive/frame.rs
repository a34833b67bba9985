//! The frames of a compressed archive.

/// Content of one frame, in bytes. Large enough that compression loses nothing by starting anew,
/// small enough that a few for each core are little memory.
pub const FRAME: usize = 8 << 20;

/// Content of one frame that is unpacked as a whole, in bytes. Others are read as a stream.
pub const LARGEST: usize = 32 << 20;

/// A skippable frame that holds the size of the next frame, as pzstd writes it.
pub const SIZE_MAGIC: u32 = 0x184D_2A50;

/// A skippable frame of this program's own.
pub const OWN_MAGIC: u32 = 0x184D_2A5C;

/// All skippable frames start like this, in the upper 28 bits.
pub const SKIPPABLE: u32 = 0x184D_2A50;

/// An ordinary frame.
pub const ZSTD_MAGIC: u32 = 0xFD2F_B528;

pub fn is_skippable(magic: u32) -> bool {
    magic & 0xFFFF_FFF0 == SKIPPABLE
}

/// The head of a skippable frame with a content of this size.
pub fn skippable(magic: u32, size: u32) -> [u8; 8] {
    let mut head = [0; 8];
    head[..4].copy_from_slice(&magic.to_le_bytes());
    head[4..].copy_from_slice(&size.to_le_bytes());
    head
}
