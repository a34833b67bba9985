//! The frames of a compressed archive.
//!
//! A frame holds 8 MiB of content and is compressed by itself, with its compressed size in front of it, as
//! pzstd has it. So a reader hands whole frames to all cores without looking into them, as they arrive. Level
//! 1 of zstd: on a fast network the processor is the bound, and a level more costs more time than it saves
//! bytes.

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

/// The size of an ordinary frame's header in bytes, by its first byte behind the magic number.
///
/// The format: <https://www.rfc-editor.org/rfc/rfc8878#name-frame-header>.
pub fn header_size(descriptor: u8) -> usize {
    let content_size = match (descriptor >> 6, is_single_segment(descriptor)) {
        (0, false) => 0,
        (0, true) => 1,
        (exponent, _) => 1 << exponent,
    };
    let window = usize::from(!is_single_segment(descriptor));
    5 + window + dictionary_size(descriptor) + content_size
}

/// How much memory a frame with this header refers back to, in bytes.
pub fn window(header: &[u8]) -> Option<u64> {
    let descriptor = *header.get(4)?;
    if !is_single_segment(descriptor) {
        let window = *header.get(5)?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let content = header.get(5 + dictionary_size(descriptor)..header_size(descriptor))?;
    let size = content.iter().rev().fold(0, |size, byte| (size << 8) | u64::from(*byte));
    // Sizes of two bytes start where those of one end.
    Some(if content.len() == 2 { size + 256 } else { size })
}

fn is_single_segment(descriptor: u8) -> bool {
    descriptor & 0x20 != 0
}

fn dictionary_size(descriptor: u8) -> usize {
    [0, 1, 2, 4][usize::from(descriptor & 3)]
}
