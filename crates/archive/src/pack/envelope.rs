//! The start and the end of an archive that is being made.

use super::compress::Frames;
use crate::compression::Compression;
use crate::error::PackError;
use crate::format::header::{self, BLOCK};
use crate::format::seal::{Announced, Seal};
use crate::format::trailer;
use crate::hash::ContentHash;

/// Writes the start of an archive.
///
/// With Zstandard it is a frame without its size in front, for tools that know the compression by the
/// first bytes of a file.
pub fn begin(frames: &mut Frames<'_>, compression: Compression) -> Result<(), PackError> {
    match compression {
        Compression::Zstd => {
            let content = Announced { with_trailer: true }.to_comment();
            frames.charge(content.len() as u64);
            frames.raw(frame(&content).map_err(PackError::Sink)?)
        }
        Compression::Gzip | Compression::None => {
            frames.write(&Announced { with_trailer: false }.to_comment())
        }
    }
}

fn frame(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(1)?;
    compressor.include_checksum(true)?;
    compressor.compress(content)
}

/// Writes the end of an archive. `hashes` are those of all files.
pub fn end(
    frames: &mut Frames<'_>,
    compression: Compression,
    seal: &Seal,
    hashes: &[ContentHash],
) -> Result<(), PackError> {
    let mut end = Vec::with_capacity(6 * BLOCK);
    header::end(&mut end);
    end.extend_from_slice(&seal.to_comment());
    header::end(&mut end);
    frames.write(&end)?;
    match compression {
        Compression::Zstd => frames.raw(trailer::write(&seal.trailer, hashes)),
        Compression::Gzip | Compression::None => Ok(()),
    }
}
