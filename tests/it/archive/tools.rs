//! Archives that other tools make and read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use ci::archive::{Compression, Root};

use super::{listing, pack, repack, repack_of, unpack_options, unpack_with};

fn tree(root: &Path) {
    fs::write(root.join("file"), "content\n").unwrap();
    fs::write(root.join("large"), vec![9; 9_000_000]).unwrap();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b").join("l".repeat(200)), "long name").unwrap();
    symlink("t".repeat(150), root.join("long link")).unwrap();
    symlink("a/b", root.join("link")).unwrap();
    fs::hard_link(root.join("file"), root.join("a/hard")).unwrap();
    fs::write(root.join("ünïcödé"), "unicode").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    for part in 0..30 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", part * 500_000).unwrap();
    }
    sparse.set_len(20_000_000).unwrap();
}

/// Listings without the fractions of seconds, which not all formats keep.
fn seconds(root: &Path) -> Vec<String> {
    let fraction = regex::Regex::new(r"\.\d{9} ").unwrap();
    listing(root).iter().map(|line| fraction.replace(line, " ").into_owned()).collect()
}

#[test]
fn archives_of_other_tools_unpack() {
    let source = tempfile::tempdir().unwrap();
    tree(source.path());
    let dir = source.path().to_str().unwrap();
    let tar = "tar --numeric-owner -C";
    let commands = [
        (Compression::None, format!("{tar} {dir} --format=gnu -c .")),
        (Compression::None, format!("{tar} {dir} --format=gnu --sparse -c .")),
        (Compression::None, format!("{tar} {dir} --format=posix -c .")),
        (Compression::None, format!("{tar} {dir} --format=posix --sparse -c .")),
        (
            Compression::None,
            format!("{tar} {dir} --format=posix --sparse --sparse-version=0.0 -c ."),
        ),
        (
            Compression::None,
            format!("{tar} {dir} --format=posix --sparse --sparse-version=0.1 -c ."),
        ),
        (Compression::None, format!("bsdtar --format=pax -C {dir} -c .")),
        (Compression::None, format!("bsdtar --format=gnutar -C {dir} -c .")),
        (Compression::Zstd, format!("{tar} {dir} --zstd -c .")),
        (Compression::Zstd, format!("{tar} {dir} -c . | zstd -19")),
        (Compression::Zstd, format!("{tar} {dir} -c . | zstd --no-check -T0")),
        (Compression::Zstd, format!("{tar} {dir} -c . | pzstd -q -p 2")),
        (Compression::Zstd, format!("bsdtar --zstd -C {dir} -c .")),
        (Compression::Gzip, format!("{tar} {dir} --gzip -c .")),
        (Compression::Gzip, format!("{tar} {dir} -c . | gzip -1")),
    ];
    for (compression, command) in commands {
        let output =
            Command::new("bash").args(["-o", "pipefail", "-c", &command]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let copy = unpack_with(&output.stdout, compression, &unpack_options());
        let copy = copy.unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(seconds(&copy.root), seconds(source.path()), "{command}");
    }
}

#[test]
fn other_tools_unpack_our_archives() {
    let source = tempfile::tempdir().unwrap();
    tree(source.path());
    for (compression, command) in [
        (Compression::Zstd, "zstd -d | tar x"),
        (Compression::Zstd, "pzstd -dc | tar x"),
        (Compression::Zstd, "tar --zstd -x"),
        (Compression::Zstd, "bsdtar -x -p"),
        (Compression::Gzip, "gzip -d | tar x"),
        (Compression::Gzip, "bsdtar -x -p"),
        (Compression::None, "tar x"),
        (Compression::None, "bsdtar -x -p"),
    ] {
        let target = tempfile::tempdir().unwrap();
        let mut child = Command::new("bash")
            .args(["-o", "pipefail", "-c", command])
            .current_dir(target.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let bytes = pack(source.path(), compression);
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{command}: {stderr}");
        // The directory itself was there before.
        assert_eq!(listing(target.path())[1..], listing(source.path())[1..], "{command}");
    }
}

/// An engine that maps users names others than tasks do.
#[test]
fn owners_are_those_that_tasks_see() {
    let of = |owners: [(u64, u64); 3]| {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, (user, group)) in ["a", "b", "c"].into_iter().zip(owners) {
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            header.set_mode(0o644);
            header.set_uid(user);
            header.set_gid(group);
            archive.append_data(&mut header, name, &[][..]).unwrap();
        }
        archive.into_inner().unwrap()
    };
    let mapped = of([(300_000, 400_000), (301_000, 400_001), (5, 5)]);
    let seen = of([(0, 0), (1000, 1), (65_534, 65_534)]);
    let root = Root { user: 300_000, group: 400_000 };
    assert!(repack_of(&mapped, root, Compression::None) == repack(&seen, Compression::None));
}
