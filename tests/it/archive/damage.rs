//! Archives that did not arrive as they were sent: an error, or the same tree, never another one.

use std::fs;
use std::os::unix::fs::symlink;

use ci::archive::{Compression, UnpackError};

use super::{listing, pack, unpack_options, unpack_with};

fn small() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    fs::write(tree.path().join("d/file"), "some content").unwrap();
    fs::write(tree.path().join("other"), vec![1; 3000]).unwrap();
    symlink("d/file", tree.path().join("link")).unwrap();
    fs::hard_link(tree.path().join("other"), tree.path().join("hard")).unwrap();
    tree
}

#[test]
fn an_archive_that_ends_early_is_an_error_wherever_it_ends() {
    let tree = small();
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        // After the first block of the mark at its end a tar archive is as good as whole.
        let enough = if compression == Compression::None { whole.len() - 512 } else { whole.len() };
        for length in 0..enough {
            let result = unpack_with(&whole[..length], compression, &unpack_options());
            let Err(error) = result else { panic!("{compression:?}: {length} bytes are enough") };
            assert!(matches!(error, UnpackError::Corrupt(_)), "{error:?}");
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
    for compression in [Compression::Zstd, Compression::Gzip] {
        let whole = pack(tree.path(), compression);
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            if let Ok(copy) = unpack_with(&bytes, compression, &unpack_options()) {
                assert_eq!(listing(&copy.root), before, "{compression:?}: bit {at}");
            }
        }
    }
}
