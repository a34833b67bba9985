//! Whether an archive is one of this program's, by its first bytes: however it was damaged or cut off
//! behind them, and wherever it was copied to.

use std::io::Read;

use super::frame::{OWN_MAGIC, skippable};
use super::header::BLOCK;
use super::pax;
use super::seal::Announced;
use super::trailer;
use crate::compression::Compression;

/// How many bytes at the start of an archive are enough for [`is_announced`].
pub const START: usize = 4 << 10;

/// The memory that a frame of the comment may refer back to, as a power of two.
const WINDOW: u32 = 20;

/// Whether an archive that starts with these bytes says at its start that this program has written it.
pub fn is_announced(start: &[u8], compression: Compression) -> bool {
    match compression {
        Compression::Zstd => {
            is_announced_by_frame(start)
                || zstd::Decoder::with_buffer(start).is_ok_and(|mut frames| {
                    frames.window_log_max(WINDOW).is_ok() && is_sealed(frames)
                })
        }
        Compression::Gzip => is_sealed(flate2::bufread::GzDecoder::new(start)),
        Compression::None => is_sealed(start),
    }
}

/// Archives of older versions start with a frame that announces a trailer.
fn is_announced_by_frame(start: &[u8]) -> bool {
    let Some((head, rest)) = start.split_first_chunk::<8>() else { return false };
    let [.., a, b, c, d] = *head;
    let size = u32::from_le_bytes([a, b, c, d]);
    *head == skippable(OWN_MAGIC, size)
        && usize::try_from(size)
            .ok()
            .and_then(|size| rest.get(..size))
            .is_some_and(trailer::is_announcement)
}

/// Whether a tar starts with the comment that announces a seal. The content may be cut off behind it.
fn is_sealed(content: impl Read) -> bool {
    let mut start = Vec::with_capacity(2 * BLOCK);
    // What was read before an error is there.
    _ = content.take(2 * BLOCK as u64).read_to_end(&mut start);
    let Some((header, data)) = start.split_first_chunk::<BLOCK>() else { return false };
    // The type of a header that holds for all entries to come.
    if header[156] != b'g' || data.len() < BLOCK {
        return false;
    }
    let comments = pax::records(data).flatten().filter(|(name, _)| *name == b"comment");
    // One of a newer version is an error, and this program's as well.
    comments.into_iter().any(|(_, comment)| !matches!(Announced::of(comment), Ok(None)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::header::comment;
    use super::*;

    /// A tar that starts with a comment, and goes on with what does not compress.
    fn tar(text: &str) -> Vec<u8> {
        let mut content = comment(text.as_bytes());
        let mut rest = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut rest);
        content.extend(rest);
        content
    }

    fn compressed(content: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            Compression::None => content.to_vec(),
            Compression::Gzip => {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(content).unwrap();
                gzip.finish().unwrap()
            }
            Compression::Zstd => {
                let (comment, rest) = content.split_at(2 * BLOCK);
                let mut frames = zstd::bulk::compress(comment, 1).unwrap();
                frames.extend(zstd::bulk::compress(rest, 1).unwrap());
                frames
            }
        }
    }

    #[test]
    fn an_archive_is_known_by_its_first_bytes() {
        for compression in Compression::ALL {
            for (text, ours) in [
                ("ci-seal 1", true),
                ("ci-seal 1 trailer", true),
                ("ci-seal 2", true),
                ("ci-sea", false),
                ("git 1f", false),
            ] {
                let archive = compressed(&tar(text), compression);
                assert_eq!(is_announced(&archive[..START], compression), ours, "{text}");
            }
            for other in [&b""[..], b"rubbish", &[0; START], &tar("ci-seal 1")[1..]] {
                assert!(!is_announced(other, compression));
            }
            // Another compression than its name says.
            let other = Compression::ALL.into_iter().find(|other| *other != compression).unwrap();
            assert!(!is_announced(&compressed(&tar("ci-seal 1"), compression), other));
        }
        let mut old = skippable(OWN_MAGIC, 8).to_vec();
        old.extend(b"ci-hash\x02 and so on");
        assert!(is_announced(&old, Compression::Zstd));
        assert!(!is_announced(&old[..15], Compression::Zstd));
    }
}
