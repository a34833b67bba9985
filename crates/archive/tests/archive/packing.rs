//! Packing a tree that does not hold still, or that nobody could unpack.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use archive::{
    self, Compression, Control, OutsideLinks, PackError, PackOptions, Packed, Sink, Trailer,
};
use bytes::Bytes;

use super::{Buffer, RUNNING, listing, pack_options, pack_with, scan, unpack};

#[test]
fn the_digest_is_that_of_what_was_packed() {
    let changes: [fn(&Path); 7] = [
        |root| fs::write(root.join("file"), "other").unwrap(),
        |root| fs::write(root.join("file"), "other size").unwrap(),
        |root| fs::remove_file(root.join("file")).unwrap(),
        |root| fs::write(root.join("new"), "new").unwrap(),
        |root| {
            fs::remove_file(root.join("file")).unwrap();
            symlink("/etc", root.join("file")).unwrap();
            fs::remove_file(root.join("file")).unwrap();
            symlink("large", root.join("file")).unwrap();
        },
        |root| fs::rename(root.join("file"), root.join("gile")).unwrap(),
        |root| fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o600)).unwrap(),
    ];
    for change in changes {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("file"), "first").unwrap();
        fs::write(tree.path().join("large"), vec![1; 5_000_000]).unwrap();
        let before = scan(tree.path()).digest;
        let unchanged = pack_with(tree.path(), &pack_options(Compression::None)).unwrap().1;
        assert_eq!(unchanged.digest, before);
        change(tree.path());
        let (bytes, packed) = pack_with(tree.path(), &pack_options(Compression::None)).unwrap();
        assert_ne!(packed.digest, before);
        assert_eq!(packed.digest, scan(tree.path()).digest);
        assert_eq!(packed.changed, 0);
        assert_eq!(listing(&unpack(&bytes, Compression::None).root), listing(tree.path()));
    }
}

/// Small files and large ones, many and few in a directory, links of both kinds and holes, in an order
/// that mixes what is read ahead with what is not.
fn mixed(root: &Path) {
    for directory in 0..30 {
        let directory = root.join(format!("d{directory}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..40_usize {
            let size = [0, 1, 511, 512, 513, 5_000, 100_000, 140_000, 1_100_000][file % 9];
            fs::write(directory.join(format!("f{file}")), vec![file as u8; size]).unwrap();
        }
        fs::hard_link(directory.join("f3"), directory.join("f30-again")).unwrap();
        symlink("f3", directory.join("f4-link")).unwrap();
        let sparse = File::create(directory.join("f5-sparse")).unwrap();
        sparse.set_len(10_000_000).unwrap();
        sparse.write_at(b"data", 5_000_000).unwrap();
    }
}

#[test]
fn what_is_read_ahead_comes_in_order() {
    let tree = tempfile::tempdir().unwrap();
    mixed(tree.path());
    for compression in Compression::ALL {
        let (bytes, packed) = pack_with(tree.path(), &pack_options(compression)).unwrap();
        let scan = scan(tree.path());
        assert_eq!(packed.digest, scan.digest);
        assert_eq!((packed.entries, packed.bytes), (scan.entries, scan.bytes));
        assert_eq!((packed.changed, packed.notices.len()), (0, 0));
        let copy = unpack(&bytes, compression);
        assert_eq!(listing(&copy.root), listing(tree.path()));
        // What the archive says of itself is found by whoever unpacks it and at its end.
        let Packed { digest, entries, bytes: content, .. } = packed;
        let trailer = Trailer { digest, entries, bytes: content };
        assert_eq!(copy.unpacked.trailer, Some(trailer));
        assert_eq!(copy.unpacked.digest, Some(digest));
        let expected = (compression == Compression::Zstd).then_some(trailer);
        assert_eq!(Trailer::at_end(&bytes), expected);
    }
}

/// A sink that does something to the tree when the archive has got so far.
struct Meddler<F> {
    buffer: Buffer,
    meddle: Option<F>,
}

impl<F: FnOnce() + Send> Sink for Meddler<F> {
    fn write(&mut self, part: Bytes) -> io::Result<()> {
        if let Some(meddle) = self.meddle.take() {
            meddle();
        }
        self.buffer.write(part)
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_leaves_the_archive_whole() {
    let tree = tempfile::tempdir().unwrap();
    let large = tree.path().join("large");
    fs::write(&large, vec![1; 200_000_000]).unwrap();
    fs::write(tree.path().join("last"), "last").unwrap();
    let options = pack_options(Compression::None);
    let shrunk: PathBuf = large.clone();
    let mut sink = Meddler {
        buffer: Buffer::default(),
        meddle: Some(move || {
            OpenOptions::new().write(true).open(shrunk).unwrap().set_len(100_000_000).unwrap();
        }),
    };
    let packed = archive::pack(tree.path(), &options, &mut sink, &RUNNING).unwrap();
    assert_eq!(packed.changed, 1);
    assert!(packed.notices.iter().any(|notice| notice.contains("changed")), "{packed:?}");
    let copy = unpack(&sink.buffer.0, Compression::None);
    assert_eq!(fs::metadata(copy.root.join("large")).unwrap().len(), 200_000_000);
    assert_eq!(fs::read_to_string(copy.root.join("last")).unwrap(), "last");
    // The digest is that of what is in the archive, not of what was there before or after.
    assert_eq!(super::scan(&copy.root).digest, packed.digest);
}

#[test]
fn a_sink_that_fails_ends_the_packing_with_its_error() {
    struct Full(usize);
    impl Sink for Full {
        fn write(&mut self, part: Bytes) -> io::Result<()> {
            self.0 = self.0.checked_sub(part.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(())
        }
    }
    let tree = tempfile::tempdir().unwrap();
    // Nothing that could be compressed.
    let mut content = vec![0; 50_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    fs::write(tree.path().join("file"), content).unwrap();
    for compression in Compression::ALL {
        let options = pack_options(compression);
        let result = archive::pack(tree.path(), &options, &mut Full(10_000), &RUNNING);
        match result {
            Err(PackError::Sink(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn packing_and_unpacking_stop_when_they_are_told_to() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), vec![1; 1_000_000]).unwrap();
    let options = pack_options(Compression::Zstd);
    let control = Control::new();
    control.stop();
    let result = archive::scan(tree.path(), None, &options, &control);
    assert!(matches!(result, Err(PackError::Stopped)));
    let mut buffer = Buffer::default();
    let result = archive::pack(tree.path(), &options, &mut buffer, &control);
    assert!(matches!(result, Err(PackError::Stopped)));
    let whole = pack_with(tree.path(), &options).unwrap().0;
    let target = tempfile::tempdir().unwrap();
    let result = archive::unpack(
        &mut super::parts(&whole),
        Compression::Zstd,
        target.path(),
        &super::unpack_options(),
        &control,
    );
    assert!(matches!(result, Err(archive::UnpackError::Stopped)));
}

#[test]
fn what_could_not_be_unpacked_is_not_packed() {
    let options = pack_options(Compression::Zstd);
    for target in ["/usr/bin/python3", "../packages/mine"] {
        let tree = tempfile::tempdir().unwrap();
        symlink(target, tree.path().join("link")).unwrap();
        let error = pack_with(tree.path(), &options).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "`link` cannot be in an archive: it links to `{target}`, outside of the volume; \
                 allow that with `--cache-outside-links keep`, which is `cache_outside_links=keep` in a DSN"
            )
        );
        let keep = PackOptions { outside_links: OutsideLinks::Keep, ..options.clone() };
        pack_with(tree.path(), &keep).unwrap();
    }
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    symlink("..", tree.path().join("d/top")).unwrap();
    symlink("d/top/..", tree.path().join("out")).unwrap();
    assert!(matches!(pack_with(tree.path(), &options), Err(PackError::Refused { .. })));
}
