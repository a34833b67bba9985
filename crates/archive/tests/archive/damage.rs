//! Archives that did not arrive as they were sent: an error, or the same tree, never another one.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use archive::{Budget, Compression, UnpackError, UnpackOptions};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{
    Buffer, RUNNING, in_memory, listing, pack, parts, scan, unpack_below, unpack_options,
    unpack_with,
};

fn small() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    fs::write(tree.path().join("d/file"), "some content").unwrap();
    fs::write(tree.path().join("other"), vec![1; 700]).unwrap();
    symlink("d/file", tree.path().join("link")).unwrap();
    fs::hard_link(tree.path().join("other"), tree.path().join("hard")).unwrap();
    tree
}

/// The same in fewer bytes: times of whole seconds take no headers of their own.
fn smaller() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let file = tree.path().join("file");
    fs::write(&file, "some content").unwrap();
    symlink("file", tree.path().join("link")).unwrap();
    fs::hard_link(&file, tree.path().join("hard")).unwrap();
    for (name, nanos) in [("file", 5), ("link", 0), (".", 0)] {
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let modified = Timespec { tv_sec: 1_700_000_000, tv_nsec: nanos };
        let times = Timestamps { last_access: now, last_modification: modified };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        utimensat(CWD, tree.path().join(name), &times, flags).unwrap();
    }
    tree
}

/// A tree whose archives are read once for every byte of theirs.
fn tree_for(compression: Compression) -> tempfile::TempDir {
    if compression == Compression::Zstd { small() } else { smaller() }
}

/// Does something for all numbers below this one, on all cores.
fn for_each(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < count => work(number),
                        _ => return,
                    }
                }
            });
        }
    });
}

/// Reads an archive in all ways. All of them accept the same tree, or all name what is wrong.
fn read(bytes: &[u8], compression: Compression) -> Result<Vec<String>, UnpackError> {
    // One thread of each kind: there are many small archives.
    let options = UnpackOptions { budget: Budget::with_threads(0, 1), ..unpack_options() };
    let unpacked = unpack_below(in_memory(), bytes, compression, &options);
    let verified = archive::verify(&mut parts(bytes), compression, &options, &RUNNING);
    let mut plain = Buffer::default();
    let validated =
        archive::validate(&mut parts(bytes), compression, &options, &mut plain, &RUNNING);
    match (unpacked, verified, validated) {
        (Ok(tree), Ok(verified), Ok(validated)) => {
            assert_eq!(verified.digest, tree.unpacked.digest);
            assert_eq!(validated.digest, tree.unpacked.digest);
            Ok(listing(&tree.root))
        }
        (Err(error), Err(verified), Err(validated)) => {
            assert_eq!(verified.to_string(), error.to_string());
            assert_eq!(validated.to_string(), error.to_string());
            Err(error)
        }
        (unpacked, verified, validated) => {
            let unpacked = unpacked.map(drop);
            panic!("unpacked: {unpacked:?}, verified: {verified:?}, validated: {validated:?}")
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
        Err(UnpackError::Limit(_) | UnpackError::Unsupported(_)) => {}
        Err(error) => assert!(error.is_of_archive(), "{compression:?}: {what}: {error}"),
    }
    found.map(drop)
}

#[test]
fn an_archive_that_ends_early_is_the_same_tree_or_an_error() {
    for compression in Compression::ALL {
        let tree = tree_for(compression);
        let before = listing(tree.path());
        let whole = pack(tree.path(), compression);
        // Behind the seal of a plain archive there are only zeros.
        let enough =
            if compression == Compression::None { whole.len() - 1536 } else { whole.len() };
        for_each(whole.len(), |length| {
            let what = format!("{length} bytes of {}", whole.len());
            let result = same_or_damaged(&whole[..length], compression, &before, &what);
            if length < enough {
                assert!(matches!(result, Err(UnpackError::Corrupt(_))), "{compression:?}: {what}");
            }
        });
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
    for compression in Compression::ALL {
        let tree = tree_for(compression);
        let before = listing(tree.path());
        let whole = pack(tree.path(), compression);
        for_each(whole.len(), |at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            _ = same_or_damaged(&bytes, compression, &before, &format!("byte {at}"));
        });
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
        let expected = scan(tree.path()).digest;
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

/// Where the headers of a tar stream start, and the end of it.
fn borders(content: &[u8]) -> Vec<usize> {
    let mut borders = vec![0];
    let mut at = 0;
    while content[at] != 0 {
        let size = std::str::from_utf8(&content[at + 124..at + 135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        at += 512 + size.next_multiple_of(512);
        borders.push(at);
    }
    borders
}

/// A header with its data.
fn header(kind: u8, name: &str, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A record of a PAX header.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let length = (1..).find(|n: &usize| *n == rest + n.to_string().len()).unwrap();
    format!("{length} {key}={value}\n")
}

#[test]
fn a_header_that_was_inserted_is_damage_wherever_it_is() {
    let tree = small();
    let content = content_of(&pack(tree.path(), Compression::None), Compression::None);
    let records = [
        record("uid", "9"),
        record("gid", "9"),
        record("mtime", "9"),
        record("SCHILY.xattr.user.a", "b"),
        record("path", "x"),
        record("linkpath", "x"),
        record("comment", "ci-seal 1"),
        record("comment", "ci-seal 1") + &record("uid", "9"),
        record("comment", "ci-seal 1 trailer"),
        record("comment", "x"),
        String::new(),
    ];
    let mut inserted: Vec<Vec<u8>> = vec![
        header(b'L', "long", b"name\0"),
        header(b'K', "long", b"name\0"),
        header(b'V', "label", b""),
        header(b'V', "label", b"data"),
        header(b'0', "new", b"data"),
        header(b'1', "new", b""),
        header(b'2', "new", b""),
        header(b'5', "new", b""),
        header(b'6', "new", b""),
        header(b'7', "new", b""),
    ];
    for kind in [b'g', b'x'] {
        inserted.extend(records.iter().map(|records| header(kind, "pax", records.as_bytes())));
    }
    let borders = borders(&content);
    assert_eq!(borders.len(), 1 + 12 + 1);
    let seal = borders[borders.len() - 1] + 1024;
    for at in borders.into_iter().chain([seal, seal + 1024, content.len()]) {
        for header in &inserted {
            let bytes = [&content[..at], header, &content[at..]].concat();
            let what = format!("{} at {at}", header[..header.len().min(600)].escape_ascii());
            let result = read(&bytes, Compression::None);
            let error = result.map(drop).expect_err(&what);
            assert!(!matches!(error, UnpackError::Internal(_)), "{what}: {error}");
        }
    }
    // Whatever the compression: a whole archive with other owners than it was packed with.
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        let content = content_of(&whole, compression);
        let bytes =
            [&content[..1024], &header(b'g', "pax", records[0].as_bytes()), &content[1024..]]
                .concat();
        let mut bytes = compressed(&bytes, compression);
        if compression == Compression::Zstd {
            bytes.extend_from_slice(trailer_of(&whole));
        }
        let error = read(&bytes, compression).map(drop).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged(_)), "{compression:?}: {error}");
    }
}

#[test]
fn what_takes_another_version_or_program_is_no_damage() {
    let unsupported = |bytes: &[u8], compression, what: &str| {
        let error = read(bytes, compression).map(drop).unwrap_err();
        assert!(matches!(error, UnpackError::Unsupported(_)), "{what}: {error}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(!error.is_of_archive());
    };
    let plain = |members: &[Vec<u8>]| [members.concat(), vec![0; 1024]].concat();
    let none = Compression::None;
    unsupported(&plain(&[header(b'3', "null", b"")]), none, "`null` is a device");
    unsupported(&plain(&[header(b'4', "disk", b"")]), none, "`disk` is a device");
    unsupported(&plain(&[header(b'M', "more", b"")]), none, "a member of type `M`");
    let deep = ["d/"; 1001].concat() + "\0";
    let deep = [header(b'L', "long", deep.as_bytes()), header(b'5', "d", b"")];
    unsupported(&plain(&deep), none, "directories deep");
    let long = header(b'L', "long", &[b'x'; (1 << 20) + 1]);
    unsupported(&plain(&[long, header(b'0', "x", b"")]), none, "a header has 1048577 bytes");
    let sparse = record("GNU.sparse.major", "1") + &record("GNU.sparse.realsize", "9");
    let list = "800000\n".to_owned() + &"0\n0000000000\n".repeat(800_000);
    let sparse = [header(b'x', "pax", sparse.as_bytes()), header(b'0', "sparse", list.as_bytes())];
    unsupported(&plain(&sparse), none, "without `--sparse`");
    let names: String =
        (0..9_000).map(|i| record(&format!("SCHILY.xattr.user.number{i:04}"), "")).collect();
    let many = [header(b'x', "pax", names.as_bytes()), header(b'0', "many", b"")];
    unsupported(&plain(&many), none, "with fewer");
    let global = [header(b'g', "pax", names.as_bytes()), header(b'0', "many", b"")];
    unsupported(&plain(&global), none, "with fewer");
    // Archives of a newer version, at their start and at their end.
    let newer = header(b'g', "pax", record("comment", "ci-seal 2").as_bytes());
    unsupported(&plain(&[newer.clone(), header(b'0', "x", b"")]), none, "update `ci`");
    unsupported(&[plain(&[header(b'0', "x", b"")]), newer].concat(), none, "update `ci`");
    let tree = small();
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        unsupported(&[&*whole, &*whole].concat(), compression, "a second tar archive");
    }
    let content = content_of(&pack(tree.path(), none), none);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(31).unwrap();
    encoder.write_all(&content).unwrap();
    unsupported(&encoder.finish().unwrap(), Compression::Zstd, "--long=31");
    // A frame that names the dictionary with the number 5.
    let dictionary = [&0xFD2F_B528_u32.to_le_bytes()[..], &[1, 0, 5, 1, 0, 0]].concat();
    unsupported(&dictionary, Compression::Zstd, "dictionary");
}

#[test]
fn an_archive_that_has_to_have_a_seal_is_damaged_without_one() {
    let tree = small();
    let sealed = UnpackOptions { sealed: true, ..unpack_options() };
    for compression in Compression::ALL {
        let whole = pack(tree.path(), compression);
        let found = unpack_with(&whole, compression, &sealed).unwrap();
        assert_eq!(listing(&found.root), listing(tree.path()));
        let content = content_of(&whole, compression);
        let bare = compressed(&content[1024..content.len() - 2048], compression);
        let error = unpack_with(&bare, compression, &sealed).map(drop).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged(_)), "{compression:?}: {error}");
        assert!(error.to_string().contains("it lacks the seal"), "{error}");
        // A trailer alone does not cover times and owners.
        if compression == Compression::Zstd {
            let bytes = [&*bare, trailer_of(&whole)].concat();
            let error = unpack_with(&bytes, compression, &sealed).map(drop).unwrap_err();
            assert!(matches!(error, UnpackError::Damaged(_)), "{error}");
        }
        assert!(read(&bare, compression).is_ok());
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
}
