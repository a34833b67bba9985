//! What goes in comes out.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use archive::Compression;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, utimensat};

use super::{
    RUNNING, attributes, listing, pack, pack_options, pack_with, scan, set_attribute, unpack,
};

/// Sets the time of the last modification, of a link itself too.
fn touch(path: &Path, seconds: i64, nanos: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree with every kind of entry that is kept. Runs as root, as the whole suite does in CI, so that
/// owners and privileged attributes are part of it.
fn every_kind(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::write(at("empty"), "").unwrap();
    fs::write(at("file"), "content\n").unwrap();
    fs::write(at("large"), vec![7; 3_000_001]).unwrap();
    fs::write(at("frames"), (0..20_000_000_u32).map(|i| (i / 3) as u8).collect::<Vec<_>>())
        .unwrap();
    fs::create_dir(at("empty directory")).unwrap();
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::write(at("a/b/c/deep"), "deep").unwrap();
    symlink("a/b/c/deep", at("link")).unwrap();
    symlink("../file", at("a/up")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("t".repeat(300), at("long target")).unwrap();
    fs::hard_link(at("file"), at("a/hard")).unwrap();
    fs::hard_link(at("file"), at("hard")).unwrap();
    let long = "n".repeat(250);
    fs::create_dir_all(at(&long).join(&long)).unwrap();
    fs::write(at(&long).join(&long).join(&long), "long").unwrap();
    fs::hard_link(at(&long).join(&long).join(&long), at("long hard")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff\xfe utf-8")), "bytes").unwrap();
    let odd = [b"odd \xff".as_slice(), &[b'o'; 200]].concat();
    fs::write(root.join(OsStr::from_bytes(&odd)), "longer bytes").unwrap();
    fs::write(at("-rf\n\"' *?"), "shell").unwrap();
    fs::write(at("..dots"), "dots").unwrap();
    fs::write(at("🚀"), "unicode").unwrap();

    for (name, mode) in
        [("file", 0o640), ("large", 0o4755), ("empty", 0), ("a/b/c/deep", 0o777), ("🚀", 0o444)]
    {
        fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    chown(at("🚀"), Some(1234), Some(5678)).unwrap();
    std::os::unix::fs::lchown(at("link"), Some(3_000_000), Some(7)).unwrap();
    set_attribute(&at("file"), "user.note", b"two\nlines\0");
    set_attribute(&at("file"), "user.empty", b"");
    set_attribute(&at("a"), "user.of-a-directory", b"1");

    // A hole at the start, one in the middle and one at the end.
    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"one", 5_000_000).unwrap();
    sparse.write_all_at(b"two", 9_000_000).unwrap();
    sparse.set_len(50_000_000).unwrap();
    let hole = File::create(at("hole")).unwrap();
    hole.set_len(30_000_000).unwrap();

    fs::create_dir(at("closed")).unwrap();
    fs::write(at("closed/inside"), "read-only").unwrap();
    touch(&at("file"), 1_700_000_000, 123_456_789);
    touch(&at("link"), 1, 1);
    touch(&at("empty"), -5, 500_000_000);
    touch(&at("large"), 20_000_000_000, 0);
    touch(&at("a/b"), 1_000, 2);
    touch(&at("empty directory"), 1_500_000_000, 999_999_999);
    fs::set_permissions(at("closed"), PermissionsExt::from_mode(0o555)).unwrap();
    touch(&at("closed"), 77, 7);
    fs::set_permissions(root, PermissionsExt::from_mode(0o2750)).unwrap();
    touch(root, 88, 8);
}

#[test]
fn every_kind_of_entry_is_kept_exactly() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("tree");
    fs::create_dir(&root).unwrap();
    every_kind(&root);
    let (before, digest) = (listing(&root), scan(&root).digest);
    for compression in Compression::ALL {
        let copy = unpack(&pack(&root, compression), compression);
        assert_eq!(listing(&copy.root), before, "{compression:?}");
        assert_eq!(scan(&copy.root).digest, digest);
        assert_eq!(copy.unpacked.notices, [""; 0]);
        assert_eq!(copy.unpacked.entries, before.len() as u64 - 1);
        for name in ["sparse", "hole"] {
            let blocks = fs::metadata(copy.root.join(name)).unwrap().blocks();
            assert!(blocks < 2_000, "{name} has {blocks} blocks, it was filled up");
        }
        assert_eq!(attributes(&copy.root.join("file")).len(), 2);
    }
}

#[test]
fn a_tree_has_one_archive() {
    let tree = tempfile::tempdir().unwrap();
    every_kind(tree.path());
    for compression in Compression::ALL {
        let first = pack(tree.path(), compression);
        assert!(first == pack(tree.path(), compression), "{compression:?}");
        let copy = unpack(&first, compression);
        assert!(first == pack(&copy.root, compression), "{compression:?}");
    }
}

#[test]
fn a_restored_tree_is_known_without_being_read() {
    let tree = tempfile::tempdir().unwrap();
    every_kind(tree.path());
    for compression in Compression::ALL {
        let copy = unpack(&pack(tree.path(), compression), compression);
        let options = pack_options(compression);
        let look = || {
            let known = Some(&copy.unpacked.file_index);
            let scan = archive::scan(&copy.root, known, &options, &RUNNING).unwrap();
            (scan.digest, scan.bytes_read)
        };
        let (digest, read) = look();
        assert_eq!(digest, scan(tree.path()).digest);
        // Only the one with attributes, which the file index does not have.
        assert_eq!(read, 8);

        // The same size and the same time: only the change of status tells.
        let path = copy.root.join("frames");
        let time = fs::metadata(&path).unwrap();
        let mut content = fs::read(&path).unwrap();
        content[10_000_000] ^= 1;
        fs::write(&path, content).unwrap();
        touch(&path, time.mtime(), time.mtime_nsec() as u32);
        let (changed, read) = look();
        assert_ne!(changed, digest);
        assert_eq!(read, 20_000_008);
    }
}

#[test]
fn what_is_no_file_is_left_out_with_a_notice() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), "").unwrap();
    rustix::fs::mknodat(
        CWD,
        tree.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    let (bytes, packed) = pack_with(tree.path(), &pack_options(Compression::Zstd)).unwrap();
    assert_eq!(
        packed.notices,
        ["pipe", "socket"].map(|name| format!(
            "`{name}` is not in the archive: it is neither file, directory nor link"
        ))
    );
    assert_eq!(listing(&unpack(&bytes, Compression::Zstd).root).len(), 2);
}

#[test]
fn deeper_than_any_path_may_be_long() {
    let tree = tempfile::tempdir().unwrap();
    let name = "d".repeat(100);
    let mut directory = rustix::fs::open(
        tree.path(),
        rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY,
        Mode::empty(),
    )
    .unwrap();
    for _ in 0..100 {
        rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o755)).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        directory = rustix::fs::openat(&directory, &name, flags, Mode::empty()).unwrap();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    rustix::fs::openat(&directory, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
    let before = scan(tree.path());
    assert_eq!(before.entries, 101);
    let copy = unpack(&pack(tree.path(), Compression::Zstd), Compression::Zstd);
    assert_eq!(scan(&copy.root).digest, before.digest);
    // Neither tree can be removed by its path.
    for root in [tree.path(), &copy.root] {
        assert!(std::process::Command::new("rm").arg("-rf").arg(root).status().unwrap().success());
    }
    fs::create_dir_all(tree.path()).unwrap();
}
