//! Whole frames, each decompressed at once by one of several threads.

use std::io;

use bytes::Bytes;

use super::content::Item;
use super::pool::{Block, Pool};
use crate::error::UnpackError;
use crate::flow::budget::Share;
use crate::flow::control::{Control, Stage};
use crate::flow::ordered::Slot;
use crate::flow::queue::Receiver;

/// Errors of zstd that a good archive may meet, by the numbers of its `zstd_errors.h`.
const UNSUPPORTED: [(usize, &str); 4] = [
    (12, "it has a frame of another version of zstd, compress it with a present one"),
    (14, "it has a frame with a parameter that zstd does not know, compress it with a present one"),
    (16, "it needs a window of more than 128 MiB, compress it with at most `zstd --long=27`"),
    (32, "it is compressed with a dictionary, compress it without one"),
];

/// What zstd says when there is no memory.
const NO_MEMORY: usize = 64;

/// Why a frame cannot be decompressed.
pub fn undecodable(error: io::Error) -> UnpackError {
    let text = error.to_string();
    let is = |number: usize| text == zstd::zstd_safe::get_error_name(number.wrapping_neg());
    if is(NO_MEMORY) {
        return local(error);
    }
    match UNSUPPORTED.into_iter().find(|(number, _)| is(*number)) {
        Some((_, what)) => UnpackError::Unsupported(what.to_owned()),
        None => UnpackError::Corrupt(text),
    }
}

/// Why nothing can be decompressed here and now, whatever it is.
pub fn local(error: io::Error) -> UnpackError {
    UnpackError::Internal(format!("cannot decompress here: {error}"))
}

pub struct Job {
    pub frame: Vec<u8>,
    /// For the frame.
    pub packed: Share,
    /// The size of the content in bytes.
    pub content: usize,
    /// For the content.
    pub share: Share,
    pub pool: Pool,
    pub done: Slot<Item>,
}

/// Decompresses frames, whoever else does too.
pub fn work(jobs: &Receiver<Job>, control: &Control) {
    let mut decompressor = zstd::bulk::Decompressor::new();
    // A pipeline that was stopped needs no more content.
    while let Ok(Some(Job { frame, packed, content, share, pool, done })) = jobs.recv() {
        let working = control.enter(Stage::Decompress);
        let mut block = pool.take(content);
        let result = match &mut decompressor {
            Ok(decompressor) => {
                decompressor.decompress_to_buffer(&frame, &mut block).map_err(undecodable)
            }
            Err(error) => Err(local(io::Error::other(error.to_string()))),
        };
        pool.give(frame);
        drop((packed, working));
        let block = Block { content: block, pool, _share: share };
        done.fill(match result {
            Ok(size) if size == content => Item::Block(Bytes::from_owner(block)),
            Ok(_) => Item::Failed(UnpackError::ends_early()),
            Err(error) => Item::Failed(error),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_archive_is_to_blame_for_is_corrupt() {
        let error = |number: usize| {
            undecodable(io::Error::other(zstd::zstd_safe::get_error_name(number.wrapping_neg())))
        };
        assert!(matches!(error(NO_MEMORY), UnpackError::Internal(_)));
        for (number, _) in UNSUPPORTED {
            assert!(matches!(error(number), UnpackError::Unsupported(_)), "{number}");
        }
        // A checksum, a corrupt block, and a source of the wrong size.
        for number in [20, 22, 72] {
            assert!(error(number).is_of_archive(), "{number}: {}", error(number));
        }
    }
}
