//! Archives of an enemy: refused by name, with nothing outside of the root touched.

use std::fs;
use std::path::Path;

use archive::{
    self, Compression, Limits, OutsideLinks, PackOptions, Setuid, UnpackError, UnpackOptions,
};
use tar::{EntryType, Header};

use super::enemy::{Enemy, Prey};
use super::{
    Buffer, RUNNING, listing, pack_options, pack_with, parts, unpack_options, unpack_with,
};

#[track_caller]
fn refuses(bytes: &[u8], entry: &str, reason: &str) {
    match Prey::new().unpack(bytes, &unpack_options()) {
        Err(UnpackError::Refused { path, reason: found, .. }) => {
            assert!(path.contains(entry) && found.contains(reason), "{path}: {found}");
        }
        other => panic!("expected `{entry}` to be refused, got {other:?}"),
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    for name in
        ["../outside/new", "/tmp/ci-absolute", "a/../../outside/new", "a/b/../../../x", ".."]
    {
        refuses(&Enemy::default().file(name, "x").end(), name, "its path");
    }
    refuses(
        &Enemy::default().pax(&[("path", "../outside/new")]).file("innocent", "x").end(),
        "..",
        "its path",
    );
    let long = Enemy::default().add(
        EntryType::GNULongName,
        b"././@LongLink",
        b"",
        0o644,
        b"../outside/x\0",
    );
    refuses(&long.file("innocent", "x").end(), "..", "its path");
    assert!(!Path::new("/tmp/ci-absolute").exists());
}

#[test]
fn links_that_lead_out_are_refused() {
    for target in ["/etc/passwd", "../outside", "a/../../outside"] {
        refuses(&Enemy::default().symlink("link", target).end(), "link", "outside of the volume");
    }
    // Each of them stays inside as text; together they lead out.
    let chain = Enemy::default().directory("d").symlink("d/top", "..").symlink("out", "d/top/..");
    refuses(&chain.end(), "out", "outside of the volume");
    for target in ["../outside/precious", "/etc/passwd"] {
        refuses(&Enemy::default().hardlink("hard", target).end(), "hard", "its path");
    }
    refuses(&Enemy::default().hardlink("hard", "missing").end(), "hard", "no file before it");
    // As another name in another directory the same link leads elsewhere.
    let moved = Enemy::default().symlink("d/link", "../f").hardlink("hard", "d/link");
    refuses(&moved.end(), "hard", "outside of the volume");
    let chain =
        Enemy::default().directory("d").symlink("d/e/top", "../..").hardlink("d/up", "d/e/top");
    refuses(&chain.end(), "d/up", "outside of the volume");
    refuses(&Enemy::default().hardlink("hard", "hard").end(), "hard", "no file before it");
    refuses(&Enemy::default().directory("d").hardlink("hard", "d").end(), "hard", "no file");
}

/// Runs something with the rights of an ordinary user.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // For this thread alone and for those that it starts; it ends with `work`.
            let nobody = rustix::fs::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(None, nobody, None).expect("the suite runs as root");
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn what_takes_root_is_refused_from_others() {
    use std::os::unix::fs::PermissionsExt;
    let world = |path: &Path| fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    let entry = |kind, mode| Enemy::default().add(kind, b"entry", b"", mode, b"").end();
    let unpack = |bytes: &[u8]| {
        let prey = Prey::new();
        world(&prey.top);
        world(&prey.root);
        let result = as_nobody(|| prey.unpack(bytes, &unpack_options()));
        (prey, result)
    };
    for (kind, mode, expected) in [
        (EntryType::Regular, 0o4755, "setuid"),
        (EntryType::Regular, 0o2755, "setuid or setgid, which takes root"),
        (EntryType::Char, 0o666, "device"),
        (EntryType::Block, 0o660, "device"),
    ] {
        let bytes = entry(kind, mode);
        let (prey, result) = unpack(&bytes);
        match result {
            Err(error @ (UnpackError::Refused { .. } | UnpackError::Unsupported(_))) => {
                let error = error.to_string();
                assert!(error.contains("`entry`") && error.contains(expected), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_dir(&prey.root).unwrap().count(), 0);
        let verified = as_nobody(|| {
            let options = unpack_options();
            archive::verify(&mut parts(&bytes), Compression::None, &options, &RUNNING)
        });
        assert!(matches!(verified, Err(UnpackError::Refused { .. } | UnpackError::Unsupported(_))));
    }
    // Root makes such files, and who is not root does not pack them.
    let tree = tempfile::tempdir().unwrap();
    world(tree.path());
    let raised = tree.path().join("raised");
    fs::write(&raised, "").unwrap();
    fs::set_permissions(&raised, PermissionsExt::from_mode(0o4755)).unwrap();
    let packed = as_nobody(|| pack_with(tree.path(), &pack_options(Compression::None)).map(drop));
    assert!(matches!(packed, Err(archive::PackError::Refused { .. })), "{packed:?}");
    let (bytes, _) = pack_with(tree.path(), &pack_options(Compression::None)).unwrap();
    let copy = super::unpack(&bytes, Compression::None);
    assert_eq!(listing(&copy.root), listing(tree.path()));
    // Without the bit the same file is an ordinary one, and belongs to whoever unpacks it.
    let (prey, result) = unpack(&entry(EntryType::Regular, 0o1755));
    result.unwrap();
    let found =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(prey.root.join("entry")).unwrap());
    assert_eq!(found, 65_534);
}

#[test]
fn links_that_lead_out_are_kept_if_that_is_wanted() {
    let options = UnpackOptions { outside_links: OutsideLinks::Keep, ..unpack_options() };
    let prey = Prey::new();
    let bytes = Enemy::default().symlink("python", "/usr/bin/python3").symlink("up", "../..").end();
    prey.unpack(&bytes, &options).unwrap();
    assert_eq!(fs::read_link(prey.root.join("python")).unwrap(), Path::new("/usr/bin/python3"));
    // But nothing is written through one.
    let prey = Prey::new();
    let bytes = Enemy::default().symlink("link", "../outside").file("link/new", "x").end();
    assert!(matches!(prey.unpack(&bytes, &options), Err(UnpackError::Refused { .. })));
    let prey = Prey::new();
    let bytes = Enemy::default()
        .symlink("link", "../outside/precious")
        .file("link", "the link itself is replaced")
        .end();
    prey.unpack(&bytes, &options).unwrap();
    assert!(prey.root.join("link").symlink_metadata().unwrap().is_file());
}

#[test]
fn nothing_is_written_through_a_link() {
    for inner in ["link/new", "link/a/b"] {
        let bytes = Enemy::default().directory("d").symlink("link", "d").file(inner, "x").end();
        refuses(&bytes, "link", "it is a link");
    }
    let bytes = Enemy::default().symlink("a", ".").directory("a/b").end();
    refuses(&bytes, "a", "it is a link");
    let bytes = Enemy::default().file("file", "x").file("file/inner", "x").end();
    refuses(&bytes, "file", "it is a file");
    let bytes =
        Enemy::default().file("kept", "x").symlink("l", "kept").hardlink("l/x", "kept").end();
    refuses(&bytes, "l", "it is a link");
}

#[test]
fn devices_are_refused_and_pipes_left_out() {
    for kind in [EntryType::Char, EntryType::Block] {
        let bytes = Enemy::default().add(kind, b"null", b"", 0o666, b"").end();
        match Prey::new().unpack(&bytes, &unpack_options()) {
            Err(UnpackError::Unsupported(what)) => assert!(what.contains("`null` is a device")),
            other => panic!("{other:?}"),
        }
    }
    let prey = Prey::new();
    let bytes = Enemy::default().add(EntryType::Fifo, b"pipe", b"", 0o666, b"").end();
    prey.unpack(&bytes, &unpack_options()).unwrap();
    assert_eq!(fs::read_dir(&prey.root).unwrap().count(), 0);
}

#[test]
fn the_last_entry_of_a_name_counts() {
    let read = |bytes: &[u8]| {
        let prey = Prey::new();
        prey.unpack(bytes, &unpack_options()).unwrap();
        let name = prey.root.join("n");
        let kind = name.symlink_metadata().unwrap();
        if kind.is_dir() {
            return "a directory".to_owned();
        }
        if kind.is_symlink() {
            return format!("to {}", fs::read_link(&name).unwrap().display());
        }
        fs::read_to_string(name).unwrap()
    };
    let new = Enemy::default;
    assert_eq!(read(&new().file("n", "first").file("n", "second").end()), "second");
    assert_eq!(read(&new().file("n", "x").directory("n").end()), "a directory");
    assert_eq!(read(&new().directory("n").file("n", "x").end()), "x");
    assert_eq!(read(&new().file("n", "x").symlink("n", "y").end()), "to y");
    assert_eq!(read(&new().symlink("n", "y").file("n", "x").end()), "x");
    assert_eq!(read(&new().symlink("n", "y").directory("n").end()), "a directory");
    assert_eq!(read(&new().file("o", "old").hardlink("n", "o").file("o", "new").end()), "old");
    assert_eq!(read(&new().file("N", "upper").file("n", "lower").end()), "lower");
    refuses(&new().file("n/inner", "x").file("n", "y").end(), "n", "not empty");
    refuses(&new().file(".", "x").end(), ".", "root");
}

#[test]
fn limits_hold() {
    let limited = |limits: Limits| UnpackOptions { limits, ..unpack_options() };
    let limit = |bytes: &[u8], compression, limits| {
        let prey = Prey::new();
        let options = limited(limits);
        let mut source = parts(bytes);
        match archive::unpack(&mut source, compression, &prey.root, &options, &RUNNING) {
            Err(UnpackError::Limit(reason)) => reason,
            other => panic!("expected a limit, got {other:?}"),
        }
    };
    let default = Limits::default();
    let many = (0..11).fold(Enemy::default(), |enemy, i| enemy.file(&format!("d/{i}"), "")).end();
    let reason = limit(&many, Compression::None, Limits { entries: 10, ..default });
    assert!(reason.contains("`cache_max_entries`"), "{reason}");
    let large = Enemy::default().file("f", &"x".repeat(100_000)).end();
    let reason = limit(&large, Compression::None, Limits { bytes: 50_000, ..default });
    assert!(reason.contains("`cache_max_size`"), "{reason}");

    // 48 MiB of zeros in some KiB.
    assert_eq!(default.free, 1 << 30);
    let mut bomb = Enemy::default();
    bomb.header(EntryType::Regular, b"zeros", b"", 0o644, 48 << 20);
    let frame = zstd::encode_all(&vec![0; 1 << 20][..], 1).unwrap();
    let mut bytes = zstd::encode_all(&bomb.0[..], 1).unwrap();
    (0..48).for_each(|_| bytes.extend_from_slice(&frame));
    let reason = limit(&bytes, Compression::Zstd, Limits { free: 32 << 20, ..default });
    assert!(reason.contains("`cache_max_ratio`"), "{reason}");
}

#[test]
fn headers_that_lie_are_refused() {
    let fails = |bytes: &[u8]| {
        let result = Prey::new().unpack(bytes, &unpack_options());
        match result {
            Err(UnpackError::Corrupt(_) | UnpackError::Limit(_) | UnpackError::Unsupported(_)) => {}
            other => panic!("expected an error, got {other:?}"),
        }
    };
    let new = Enemy::default;
    // A size that reaches beyond the archive, and one that no archive can have.
    fails(&new().pax(&[("size", "1000000")]).file("f", "x").end());
    fails(&new().pax(&[("size", "18446744073709551615")]).file("f", "x").end());
    fails(&new().pax(&[("size", "-1")]).file("f", "x").end());
    fails(&new().pax(&[("mtime", "never")]).file("f", "x").end());
    fails(
        &new()
            .pax(&[("GNU.sparse.map", "0,1,0,1"), ("GNU.sparse.size", "9")])
            .file("f", "xx")
            .end(),
    );
    fails(
        &new()
            .pax(&[("GNU.sparse.map", "5,9"), ("GNU.sparse.size", "9")])
            .file("f", &"x".repeat(9))
            .end(),
    );
    // Lengths whose sum is no number.
    let lengths = "0,9223372036854775807,1,9223372036854775807,2,9223372036854775807";
    fails(
        &new()
            .pax(&[("GNU.sparse.map", lengths), ("GNU.sparse.size", "9223372036854775807")])
            .file("f", "x")
            .end(),
    );
    // A file that is nearly all hole, and takes years to read.
    fails(
        &new()
            .pax(&[("GNU.sparse.map", "0,1"), ("GNU.sparse.size", "9223372036854775807")])
            .file("f", "x")
            .end(),
    );
    fails(&new().pax(&[("GNU.sparse.numbytes", "1")]).file("f", "x").end());
    let version_1 = [("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "9")];
    fails(&new().pax(&version_1).file("f", "99999999999\n").end());
    fails(&new().pax(&version_1).file("f", &"9".repeat(600)).end());
    // A header of 1 GiB.
    let mut giant = new();
    giant.header(EntryType::XHeader, b"pax", b"", 0o644, 1 << 30);
    fails(&giant.data(&[b'0'; 1 << 16]).end());
    // No such type, a wrong checksum, rubbish.
    fails(&new().add(EntryType::new(b'Z'), b"f", b"", 0o644, b"").end());
    let mut bytes = new().file("f", "x").end();
    bytes[0] = b'g';
    fails(&bytes);
    fails(&[b'x'; 10_000]);
    fails(b"");
    fails(&[0; 100]);
}

#[test]
fn memory_is_bounded_by_what_arrives() {
    // A frame that claims a window of 128 MiB, and one that claims a content of 8 EiB.
    for descriptor in [[0x00, 0x88], [0xe0, 0xff]] {
        let mut bytes = 0xFD2F_B528_u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&descriptor);
        bytes.extend_from_slice(&[0xff; 64]);
        let prey = Prey::new();
        let options = unpack_options();
        let mut source = parts(&bytes);
        let result =
            archive::unpack(&mut source, Compression::Zstd, &prey.root, &options, &RUNNING);
        assert!(
            matches!(result, Err(UnpackError::Corrupt(_) | UnpackError::Unsupported(_))),
            "{result:?}"
        );
    }
    // A list of hashes of 4 GiB.
    let bytes = [&0x184D_2A5C_u32.to_le_bytes()[..], &[0xff; 4], &[1; 1000]].concat();
    let prey = Prey::new();
    let options = unpack_options();
    let mut source = parts(&bytes);
    let result = archive::unpack(&mut source, Compression::Zstd, &prey.root, &options, &RUNNING);
    assert!(matches!(result, Err(UnpackError::Corrupt(_))), "{result:?}");
}

#[test]
fn holes_count_towards_the_limits() {
    let hole = |size: u64| {
        let size = size.to_string();
        let map = format!("{size},0");
        Enemy::default()
            .pax(&[("GNU.sparse.map", &map), ("GNU.sparse.size", &size)])
            .file("hole", "")
            .end()
    };
    let error = |size| Prey::new().unpack(&hole(size), &unpack_options()).unwrap_err().to_string();
    assert!(error(1 << 39).contains("`cache_max_ratio`"));
    assert!(error(1 << 40).contains("`cache_max_size`"));
    assert!(error((1 << 40) + 1).contains("`cache_max_size`"));
    assert!(error(2 << 30).contains("`cache_max_ratio`"));
    let prey = Prey::new();
    prey.unpack(&hole(64 << 20), &unpack_options()).unwrap();
    assert_eq!(fs::metadata(prey.root.join("hole")).unwrap().len(), 64 << 20);
    // Several holes are as much as one.
    let limits = Limits { free: 100 << 20, ..Limits::default() };
    let options = UnpackOptions { limits, ..unpack_options() };
    let one = hole(64 << 20);
    let two = [&one[..one.len() - 1024], &one].concat();
    assert!(Prey::new().unpack(&one, &options).is_ok());
    assert!(matches!(Prey::new().unpack(&two, &options), Err(UnpackError::Limit(_))));
}

#[test]
fn setuid_and_setgid_bits_are_dropped_unless_they_are_wanted() {
    use std::os::unix::fs::PermissionsExt;
    let bytes = Enemy::default()
        .add(EntryType::Regular, b"file", b"", 0o6755, b"")
        .add(EntryType::Directory, b"directory", b"", 0o2775, b"")
        .end();
    for (setuid, modes) in [(Setuid::Drop, [0o755, 0o775]), (Setuid::Keep, [0o6755, 0o2775])] {
        let prey = Prey::new();
        let options = UnpackOptions { setuid, ..unpack_options() };
        prey.unpack(&bytes, &options).unwrap();
        let mode = |name: &str| fs::metadata(prey.root.join(name)).unwrap().permissions().mode();
        assert_eq!(["file", "directory"].map(|name| mode(name) & 0o7777), modes);
        // What is packed has them neither.
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("file"), "").unwrap();
        fs::set_permissions(tree.path().join("file"), PermissionsExt::from_mode(0o4755)).unwrap();
        let options = PackOptions { setuid, ..pack_options(Compression::Zstd) };
        let (bytes, packed) = pack_with(tree.path(), &options).unwrap();
        let copy = super::unpack(&bytes, Compression::Zstd);
        let mode = fs::metadata(copy.root.join("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o4000 != 0, setuid == Setuid::Keep);
        assert_eq!(packed.notices.len(), usize::from(setuid == Setuid::Drop), "{packed:?}");
    }
}

#[test]
fn capabilities_are_dropped_unless_they_are_wanted() {
    use std::os::unix::fs::PermissionsExt;
    const NAME: &str = "security.capability";
    // `cap_setuid` as permitted and effective, in version 2 of the kernel's format.
    let value = [&[1, 0, 0, 2, 0x80][..], &[0; 15]].concat();
    let capability = |path: &Path| {
        let mut value = vec![0; 64];
        let length = rustix::fs::lgetxattr(path, NAME, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    };
    let tree = tempfile::tempdir().unwrap();
    for (name, size) in [("small", 10), ("middle", 300_000), ("large", 2_000_000)] {
        let file = tree.path().join(name);
        fs::write(&file, vec![1; size]).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        super::set_attribute(&file, NAME, &value);
    }
    let names = ["small", "middle", "large"];
    let packed = |setuid| {
        let options = PackOptions { setuid, ..pack_options(Compression::Zstd) };
        pack_with(tree.path(), &options).unwrap()
    };
    let told = |notices: &[String]| {
        notices.iter().filter(|notice| notice.contains("has lost its capabilities")).count()
    };
    let (kept, how) = packed(Setuid::Keep);
    assert_eq!(told(&how.notices), 0);
    let (dropped, how) = packed(Setuid::Drop);
    assert_eq!(told(&how.notices), 3, "{:?}", how.notices);
    for (bytes, setuid, expected) in [
        (&kept, Setuid::Keep, Some(&value)),
        (&kept, Setuid::Drop, None),
        (&dropped, Setuid::Keep, None),
    ] {
        let options = UnpackOptions { setuid, ..unpack_options() };
        let copy = unpack_with(bytes, Compression::Zstd, &options).unwrap();
        for name in names {
            assert_eq!(capability(&copy.root.join(name)).as_ref(), expected, "{name}");
        }
        let lost = bytes == &kept && setuid == Setuid::Drop;
        assert_eq!(told(&copy.unpacked.notices), if lost { 3 } else { 0 });
        let mut plain = Buffer::default();
        archive::validate(&mut parts(bytes), Compression::Zstd, &options, &mut plain, &RUNNING)
            .unwrap();
        let has = plain.0.windows(NAME.len()).any(|window| window == NAME.as_bytes());
        assert_eq!(has, expected.is_some());
    }
    // The same of what an engine gives.
    let plain = super::validate(&kept, Compression::Zstd);
    for setuid in [Setuid::Keep, Setuid::Drop] {
        let options = PackOptions { setuid, ..pack_options(Compression::None) };
        let mut bytes = Buffer::default();
        let root = archive::Root::default();
        let how = archive::transcode(&mut parts(&plain), root, &options, &mut bytes, &RUNNING);
        assert_eq!(told(&how.unwrap().notices), if setuid == Setuid::Drop { 3 } else { 0 });
        let has = bytes.0.windows(NAME.len()).any(|window| window == NAME.as_bytes());
        assert_eq!(has, setuid == Setuid::Keep);
    }
}

#[test]
fn attributes_count_by_their_names_too() {
    // Attributes for all members, none of which takes space in the archive again.
    let names: Vec<String> = (0..3_000).map(|i| format!("SCHILY.xattr.user.{i}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let mut enemy = Enemy::default().pax(&records);
    enemy.0[156] = b'g';
    let mut header = Header::from_byte_slice(&enemy.0[..512]).clone();
    header.set_cksum();
    enemy.0[..512].copy_from_slice(header.as_bytes());
    let bytes = (0..1_000).fold(enemy, |enemy, i| enemy.file(&format!("f{i}"), "")).end();
    let limits = Limits { bytes: 100 << 20, ..Limits::default() };
    let options = UnpackOptions { limits, ..unpack_options() };
    let verified = archive::verify(&mut parts(&bytes), Compression::None, &options, &RUNNING);
    assert!(matches!(verified, Err(UnpackError::Limit(_))), "{verified:?}");
}
