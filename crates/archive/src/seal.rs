//! What the tar stream of an archive says of itself, however it is compressed.
//!
//! A PAX header at the start has a comment that announces the seal. The seal is another such header
//! behind the end of the archive, where no tar looks: it has the digest of the tree and a hash over all
//! headers. So damage to any content, time or owner shows, also in archives without checksums. Archives
//! of other programs have none of this.
//!
//! Archives compressed with Zstandard have a [trailer](super::trailer) as well, behind the last frame.

use super::Compression;
use super::compress::Frames;
use super::header::{self, BLOCK, comment};
use super::pack::PackError;
use super::snapshot::{ContentHash, TreeDigest};
use super::trailer::{self, Trailer};

/// Starts the comments, with a version.
const NAME: &str = "ci-seal 1";

/// Follows the name at the start of an archive that ends with a trailer as well.
const WITH_TRAILER: &str = "trailer";

/// What is known of an archive at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    pub trailer: Trailer,
    /// Over all of the tar stream but the content of files, what pads it, and comments.
    pub headers: [u8; 32],
}

/// What the start of an archive announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub with_trailer: bool,
}

/// Writes the start of an archive.
///
/// With Zstandard it is a frame without its size in front, for tools that know the compression by the
/// first bytes of a file.
pub fn begin(frames: &mut Frames<'_>, compression: Compression) -> Result<(), PackError> {
    match compression {
        Compression::Zstd => {
            let content = comment(format!("{NAME} {WITH_TRAILER}").as_bytes());
            frames.raw(frame(&content).map_err(PackError::Sink)?)
        }
        Compression::Gzip | Compression::None => frames.write(&comment(NAME.as_bytes())),
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

impl Seal {
    fn to_comment(self) -> Vec<u8> {
        let Trailer { digest, entries, bytes } = self.trailer;
        let headers = TreeDigest(self.headers);
        comment(format!("{NAME} {digest} {entries} {bytes} {headers}").as_bytes())
    }

    /// The seal in a comment, if that is one.
    pub fn of(comment: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(comment).ok()?.strip_prefix(NAME)?.strip_prefix(' ')?;
        let mut parts = rest.split(' ');
        let digest = parts.next()?.parse().ok()?;
        let entries = parts.next()?.parse().ok()?;
        let bytes = parts.next()?.parse().ok()?;
        let TreeDigest(headers) = parts.next()?.parse().ok()?;
        let trailer = Trailer { digest, entries, bytes };
        parts.next().is_none().then_some(Self { trailer, headers })
    }
}

impl Announced {
    /// What a comment announces, if it is an announcement.
    pub fn of(comment: &[u8]) -> Option<Self> {
        let rest = comment.strip_prefix(NAME.as_bytes())?;
        if rest.is_empty() {
            return Some(Self { with_trailer: false });
        }
        (rest.strip_prefix(b" ")? == WITH_TRAILER.as_bytes()).then_some(Self { with_trailer: true })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pax;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let trailer = Trailer { digest: TreeDigest([7; 32]), entries: 3, bytes: u64::MAX };
        let seal = Seal { trailer, headers: [9; 32] };
        let block = seal.to_comment();
        assert_eq!(block.len(), 2 * BLOCK);
        let records = pax::read(&block[BLOCK..]).unwrap();
        assert_eq!(records[0].0, b"comment");
        assert_eq!(Seal::of(records[0].1), Some(seal));
        assert_eq!(Announced::of(records[0].1), None);
        for (comment, with_trailer) in [("ci-seal 1", false), ("ci-seal 1 trailer", true)] {
            assert_eq!(Announced::of(comment.as_bytes()), Some(Announced { with_trailer }));
            assert_eq!(Seal::of(comment.as_bytes()), None);
        }
        for comment in ["", "ci-seal 2", "ci-seal 1 ", "ci-seal 10", "a comment"] {
            assert_eq!(Announced::of(comment.as_bytes()), None, "{comment}");
        }
    }
}
