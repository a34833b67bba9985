//! The parts of a sparse file that hold data.

use rustix::fd::AsFd;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Most bytes of the list in front of a sparse file's data.
pub const MAX_LIST: usize = 8 << 20;

/// Offset and length in bytes, in order, none empty.
pub type Extents = Vec<(u64, u64)>;

/// More than this many parts are not worth their list: the file is kept as if it had no holes.
const MAX_EXTENTS: usize = 100_000;

/// Where a file has data, if it has holes. `size` is the file's, `blocks` how many units of 512 bytes
/// it takes on the disk.
pub fn of(file: impl AsFd, size: u64, blocks: u64) -> Result<Option<Extents>, Errno> {
    if size == 0 || blocks.saturating_mul(512) >= size {
        return Ok(None);
    }
    let file = file.as_fd();
    let mut extents = Extents::new();
    let mut position = 0;
    while position < size {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start.min(size),
            // Nothing but a hole until the end.
            Err(Errno::NXIO) => break,
            // The file system does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if end > start {
            extents.push((start, end - start));
        }
        if extents.len() > MAX_EXTENTS {
            return Ok(None);
        }
        position = end.max(start + 1);
    }
    // It takes little space for another reason, such as compression.
    let whole = extents.as_slice() == [(0, size)];
    Ok((!whole).then_some(extents))
}

/// The list in front of a sparse file's data in version 1.0 of the format, padded to whole blocks.
pub fn encode(extents: &[(u64, u64)], size: u64) -> Vec<u8> {
    let end = extents.last().map_or(0, |(offset, length)| offset + length);
    // GNU tar makes a file as long as its list, so a hole at the end is a part without data.
    let hole = (end < size).then_some((size, 0));
    let mut text = format!("{}\n", extents.len() + hole.iter().len());
    for (offset, length) in extents.iter().chain(&hole) {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// How many bytes of a file of this size are in none of its parts.
pub fn holes(extents: &[(u64, u64)], size: u64) -> u64 {
    size.saturating_sub(extents.iter().map(|(_, length)| length).sum())
}

/// How many bytes of data a list announces that an archive has, if it is one: in order, without
/// overlaps, and within a file of `size` bytes.
pub fn stored(extents: &[(u64, u64)], size: u64) -> Option<u64> {
    let mut end = 0;
    let mut stored = 0;
    for &(offset, length) in extents {
        if offset < end {
            return None;
        }
        end = offset.checked_add(length).filter(|end| *end <= size)?;
        // The parts lie apart below `size`, so their sum does too.
        stored += length;
    }
    Some(stored)
}
