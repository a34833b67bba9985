//! Archives that other tools make and read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use archive::{Compression, Root};

use super::{listing, pack, transcode, transcode_of, unpack_options, unpack_with};

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
    assert!(transcode_of(&mapped, root, Compression::None) == transcode(&seen, Compression::None));
}

#[test]
fn tar_lists_what_it_knows_by_its_first_bytes() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "content").unwrap();
    for compression in Compression::ALL {
        let archive = tempfile::NamedTempFile::new().unwrap();
        fs::write(archive.path(), pack(source.path(), compression)).unwrap();
        for tool in ["tar", "bsdtar"] {
            let output = Command::new(tool).arg("tf").arg(archive.path()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && output.stderr.is_empty(), "{tool}: {output:?}");
            assert_eq!(text, "./\nfile\n", "{tool}, {compression:?}");
        }
    }
}

#[test]
fn archives_of_gnu_tar_with_old_times_and_links_to_links_unpack() {
    let source = tempfile::tempdir().unwrap();
    let script =
        "touch -d '1968-03-04 05:06:07 UTC' old; mkdir d; ln -s target d/s1; ln -P d/s1 d/s2";
    assert!(
        Command::new("sh").args(["-c", script]).current_dir(&source).status().unwrap().success()
    );
    let dir = source.path().to_str().unwrap();
    for format in ["gnu", "posix"] {
        let command = format!("tar --numeric-owner --format={format} --sort=name -C {dir} -c .");
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let copy = unpack_with(&output.stdout, Compression::None, &unpack_options()).unwrap();
        assert_eq!(seconds(&copy.root), seconds(source.path()), "{format}");
        // The same tree by way of an engine.
        let plain = transcode(&output.stdout, Compression::None);
        let again = unpack_with(&plain, Compression::None, &unpack_options()).unwrap();
        let time = fs::symlink_metadata(again.root.join("old")).unwrap().modified().unwrap();
        assert!(time < std::time::UNIX_EPOCH);
        assert_eq!(fs::read_link(again.root.join("d/s2")).unwrap(), Path::new("target"));
    }
}

#[test]
fn owners_are_restored_below_a_directory_that_gives_its_own_group() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/file"), "content").unwrap();
    symlink("file", source.path().join("d/link")).unwrap();
    let top = tempfile::tempdir().unwrap();
    chown(top.path(), None, Some(4321)).unwrap();
    fs::set_permissions(top.path(), PermissionsExt::from_mode(0o2755)).unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    let bytes = pack(source.path(), Compression::Zstd);
    let mut source = super::parts(&bytes);
    let options = unpack_options();
    archive::unpack(&mut source, Compression::Zstd, &root, &options, &super::RUNNING).unwrap();
    for path in ["", "d", "d/file", "d/link"] {
        let found = root.join(path).symlink_metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "{path}");
    }
}
