//! Archives that did not arrive as they were sent: an error, or the same tree, never another one.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;

use archive::{Budget, Compression, UnpackError, UnpackOptions};

use super::{Buffer, RUNNING, listing, pack, parts, survey, unpack_options, unpack_with};

fn small() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    fs::write(tree.path().join("d/file"), "some content").unwrap();
    fs::write(tree.path().join("other"), vec![1; 700]).unwrap();
    symlink("d/file", tree.path().join("link")).unwrap();
    fs::hard_link(tree.path().join("other"), tree.path().join("hard")).unwrap();
    tree
}

/// Reads an archive in all ways. All of them accept the same tree, or all name what is wrong.
fn read(bytes: &[u8], compression: Compression) -> Result<Vec<String>, UnpackError> {
    // One thread of each kind: there are many small archives.
    let options = UnpackOptions { budget: Budget::with_threads(0, 1), ..unpack_options() };
    let unpacked = unpack_with(bytes, compression, &options);
    let verified = archive::verify(&mut parts(bytes), compression, &options, &RUNNING);
    let mut plain = Buffer::default();
    let relayed = archive::relay(&mut parts(bytes), compression, &options, &mut plain, &RUNNING);
    match (unpacked, verified, relayed) {
        (Ok(tree), Ok(verified), Ok(relayed)) => {
            assert_eq!(verified.digest, tree.unpacked.digest);
            assert_eq!(relayed.digest, tree.unpacked.digest);
            Ok(listing(&tree.root))
        }
        (Err(error), Err(verified), Err(relayed)) => {
            assert_eq!(verified.to_string(), error.to_string());
            assert_eq!(relayed.to_string(), error.to_string());
            Err(error)
        }
        (unpacked, verified, relayed) => {
            let unpacked = unpacked.map(drop);
            panic!("unpacked: {unpacked:?}, verified: {verified:?}, relayed: {relayed:?}")
        }
    }
}

/// The archive is the same tree, or it is itself wrong.
#[track_caller]
fn same_or_damaged(
    bytes: &[u8],
    compression: Compression,
    tree: &[String],
    what: &str,
) -> Result<(), UnpackError> {
    let found = read(bytes, compression);
    match &found {
        Ok(found) => assert_eq!(found, tree, "{compression:?}: {what}"),
        Err(UnpackError::Limit(_)) => {}
        Err(error) => assert!(error.is_of_archive(), "{compression:?}: {what}: {error}"),
    }
    found.map(drop)
}

#[test]
fn an_archive_that_ends_early_is_the_same_tree_or_an_error() {
    let tree = small();
    let before = listing(tree.path());
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        // Behind the seal of a plain archive there are only zeros.
        let enough =
            if compression == Compression::None { whole.len() - 1536 } else { whole.len() };
        for length in 0..whole.len() {
            let what = format!("{length} bytes of {}", whole.len());
            let result = same_or_damaged(&whole[..length], compression, &before, &what);
            if length < enough {
                assert!(matches!(result, Err(UnpackError::Corrupt(_))), "{compression:?}: {what}");
            }
        }
    }
}

#[test]
fn an_archive_of_many_frames_that_lacks_some_is_an_error() {
    let tree = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..30_000_000_u32).map(|i| (i * 7 / 5) as u8).collect();
    fs::write(tree.path().join("large"), content).unwrap();
    let whole = pack(tree.path(), Compression::Zstd);
    let size_of_next = 0x184D_2A50_u32.to_le_bytes();
    let starts: Vec<usize> = whole
        .windows(8)
        .enumerate()
        .filter(|(_, bytes)| bytes[..4] == size_of_next && bytes[4..] == 4_u32.to_le_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(starts.len() >= 4, "{starts:?}");
    for start in &starts {
        for length in [*start, start + 12] {
            let result = unpack_with(&whole[..length], Compression::Zstd, &unpack_options());
            assert!(matches!(result, Err(UnpackError::Corrupt(_))));
        }
    }
    // Without one in the middle.
    let without = [&whole[..starts[1]], &whole[starts[2]..]].concat();
    assert!(unpack_with(&without, Compression::Zstd, &unpack_options()).is_err());
}

#[test]
fn a_flipped_bit_is_never_another_tree() {
    let tree = small();
    let before = listing(tree.path());
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            _ = same_or_damaged(&bytes, compression, &before, &format!("byte {at}"));
        }
    }
}

/// The tar stream of an archive.
fn content_of(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Zstd => zstd::decode_all(bytes).unwrap(),
        Compression::Gzip => {
            let mut content = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
            content
        }
        Compression::None => bytes.to_vec(),
    }
}

fn compressed(content: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Zstd => zstd::encode_all(content, 1).unwrap(),
        Compression::Gzip => {
            let level = flate2::Compression::new(1);
            let mut member = flate2::write::GzEncoder::new(Vec::new(), level);
            member.write_all(content).unwrap();
            member.finish().unwrap()
        }
        Compression::None => content.to_vec(),
    }
}

/// The frame at the end of an archive of ours.
fn trailer_of(whole: &[u8]) -> &[u8] {
    let magic = 0x184D_2A5C_u32.to_le_bytes();
    let at = whole.windows(4).rposition(|window| window == magic).unwrap();
    &whole[at..]
}

#[test]
fn content_that_was_changed_is_damaged_whatever_the_checksums_say() {
    let tree = small();
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        let mut content = content_of(&whole, compression);
        let at = content.windows(12).position(|window| window == b"some content").unwrap();
        content[at] = b'S';
        let mut changed = compressed(&content, compression);
        if compression == Compression::Zstd {
            changed.extend_from_slice(trailer_of(&whole));
        }
        let error = read(&changed, compression).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged(_)), "{compression:?}: {error:?}");
        assert!(error.to_string().starts_with("the archive is damaged"), "{error}");
        // The same by the store's word alone, for archives that say nothing of themselves.
        let foreign = compressed(&content[1024..content.len() - 2048], compression);
        let expected = survey(tree.path()).digest;
        let options = UnpackOptions { expected: Some(expected), ..unpack_options() };
        let error = unpack_with(&foreign, compression, &options).map(drop).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged(_)), "{compression:?}: {error:?}");
        assert_eq!(read(&foreign, compression).map(|tree| tree.len()).ok(), Some(6));
    }
}

#[test]
fn a_time_or_an_owner_that_was_changed_is_damage() {
    let tree = small();
    for compression in Compression::ALL {
        let mut content = content_of(&pack(tree.path(), compression), compression);
        let at = content.windows(6).position(|window| window == b"mtime=").unwrap() + 6;
        content[at] ^= 1;
        let error = read(&compressed(&content, compression), compression).unwrap_err();
        assert!(error.is_of_archive(), "{compression:?}: {error}");
    }
}

#[test]
fn older_archives_are_read_and_compared() {
    let tree = small();
    let whole = pack(tree.path(), Compression::Zstd);
    let content = content_of(&whole, Compression::Zstd);
    // Without the comment and the seal, and with a frame that announces the trailer.
    let tar = &content[1024..content.len() - 2048];
    let start = [&0x184D_2A5C_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), b"ci-hash\x02"].concat();
    let old =
        |tar: &[u8]| [&start, &*compressed(tar, Compression::Zstd), trailer_of(&whole)].concat();
    assert_eq!(read(&old(tar), Compression::Zstd).unwrap(), listing(tree.path()));
    let mut changed = tar.to_vec();
    let at = changed.windows(12).position(|window| window == b"some content").unwrap();
    changed[at] = b'S';
    let error = read(&old(&changed), Compression::Zstd).unwrap_err();
    assert!(matches!(error, UnpackError::Damaged(_)), "{error:?}");
    let cut = [&start, &*compressed(tar, Compression::Zstd)].concat();
    assert!(matches!(read(&cut, Compression::Zstd), Err(UnpackError::Corrupt(_))));
}

#[test]
fn what_follows_the_end_is_told_as_what_it_is() {
    let tree = small();
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        let twice = [&*whole, &*whole].concat();
        let error = read(&twice, compression).unwrap_err().to_string();
        assert!(error.contains("a second tar archive follows its end"), "{compression:?}: {error}");
        let error = read(&[&*whole, b"rubbish"].concat(), compression).unwrap_err().to_string();
        let expected = match compression {
            Compression::Zstd => "not compressed with zstd",
            Compression::Gzip => "something that is not compressed with gzip follows its end",
            Compression::None => "something else follows its end",
        };
        assert!(error.contains(expected), "{compression:?}: {error}");
        // Zeros fill up the last block.
        let padded = [&*whole, &[0; 20_000]].concat();
        assert_eq!(read(&padded, compression).unwrap(), listing(tree.path()));
    }
    let content = content_of(&pack(tree.path(), Compression::None), Compression::None);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(31).unwrap();
    encoder.write_all(&content).unwrap();
    let error = read(&encoder.finish().unwrap(), Compression::Zstd).unwrap_err().to_string();
    assert!(error.contains("--long=31"), "{error}");
}
