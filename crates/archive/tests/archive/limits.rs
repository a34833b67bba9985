//! Whoever packs refuses what nobody could unpack by the same limits, and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use archive::{
    Budget, Compression, Limits, PackError, PackOptions, Root, UnpackError, UnpackOptions,
};
use proptest::prelude::*;

use super::{
    Buffer, RUNNING, in_memory, pack_options, set_attribute, unpack_options, validate, whole,
};

/// What a directory holds.
#[derive(Clone, Debug)]
enum Node {
    File {
        size: usize,
        attributes: usize,
    },
    Holes {
        size: u64,
        data: Vec<u64>,
    },
    Directory {
        children: Vec<(String, Node)>,
        attributes: usize,
    },
    /// Many directories in each other.
    Deep(usize),
    Symlink(String),
    Hardlinks(usize),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        4 => (0..3_000_usize, 0..4_usize).prop_map(|(size, attributes)| Node::File { size, attributes }),
        1 => (100_000..1_500_000_usize)
            .prop_map(|size| Node::File { size, attributes: size % 2 }),
        1 => (1..40_000_000_u64, proptest::collection::vec(0..40_000_000_u64, 0..4))
            .prop_map(|(size, data)| Node::Holes { size, data }),
        1 => (1..60_usize).prop_map(Node::Deep),
        1 => "[a-z/]{1,200}".prop_map(Node::Symlink),
        1 => (1..5_usize).prop_map(Node::Hardlinks),
    ];
    leaf.prop_recursive(3, 20, 6, |inner| {
        (proptest::collection::vec((name(), inner), 0..6), 0..3_usize)
            .prop_map(|(children, attributes)| Node::Directory { children, attributes })
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "[x]{90,255}"]
}

fn decorate(path: &Path, attributes: usize) {
    for number in 0..attributes {
        set_attribute(path, &format!("user.number{number}"), &vec![b'v'; number * 700]);
    }
}

fn make(path: &Path, node: &Node) {
    match node {
        Node::File { size, attributes } => {
            fs::write(path, vec![7; *size]).unwrap();
            decorate(path, *attributes);
        }
        Node::Holes { size, data } => {
            let file = File::create(path).unwrap();
            file.set_len(*size).unwrap();
            for at in data {
                file.write_at(b"data", at % size).unwrap();
            }
        }
        Node::Directory { children, attributes } => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                if path.join(name).symlink_metadata().is_err() {
                    make(&path.join(name), child);
                }
            }
            decorate(path, *attributes);
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Node::Deep(depth) => {
            let deep = (0..*depth).fold(path.to_owned(), |path, _| path.join("directory"));
            fs::create_dir_all(deep).unwrap();
        }
        Node::Symlink(target) => symlink(format!("x{target}"), path).unwrap(),
        Node::Hardlinks(count) => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("0"), "content").unwrap();
            (1..=*count).for_each(|number| {
                fs::hard_link(path.join("0"), path.join(number.to_string())).unwrap();
            });
        }
    }
}

/// One thread of each kind: there are many small archives.
fn budget() -> Budget {
    Budget::with_threads(0, 1)
}

fn packs(root: &Path, compression: Compression, limits: Limits) -> bool {
    let options = PackOptions { limits, budget: budget(), ..pack_options(compression) };
    let mut buffer = Buffer::default();
    match archive::pack(root, &options, &mut buffer, &RUNNING) {
        Ok(_) => true,
        Err(PackError::Limit(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

fn transcodes(plain: &[u8], compression: Compression, limits: Limits) -> bool {
    let options = PackOptions { limits, budget: budget(), ..pack_options(compression) };
    let mut buffer = Buffer::default();
    match archive::transcode(&mut whole(plain), Root::default(), &options, &mut buffer, &RUNNING) {
        Ok(_) => true,
        Err(PackError::Limit(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Whether all who read an archive accept it; they agree.
fn unpacks(bytes: &[u8], compression: Compression, limits: Limits) -> bool {
    let options = UnpackOptions { limits, budget: budget(), sealed: true, ..unpack_options() };
    let root = in_memory();
    let unpacked = archive::unpack(&mut whole(bytes), compression, root.path(), &options, &RUNNING);
    let verified = archive::verify(&mut whole(bytes), compression, &options, &RUNNING);
    let mut plain = Buffer::default();
    let validated =
        archive::validate(&mut whole(bytes), compression, &options, &mut plain, &RUNNING);
    let results = [unpacked, verified, validated].map(|result| match result {
        Ok(_) => true,
        Err(UnpackError::Limit(_)) => false,
        Err(error) => panic!("{error}"),
    });
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results[0]
}

/// The smallest number that is accepted.
fn least(accepts: impl Fn(u64) -> bool) -> u64 {
    let (mut refused, mut accepted) = (0, 1 << 40);
    while accepted - refused > 1 {
        let middle = u64::midpoint(refused, accepted);
        if accepts(middle) { accepted = middle } else { refused = middle }
    }
    accepted
}

/// Compares all who apply limits, right at the limits of one archive.
fn agree(root: &Path, compression: Compression) {
    let options = PackOptions { budget: budget(), ..pack_options(compression) };
    let mut buffer = Buffer::default();
    let packed = archive::pack(root, &options, &mut buffer, &RUNNING).unwrap();
    let plain = validate(&buffer.0, compression);
    let all = Limits { entries: u64::MAX, bytes: u64::MAX, ratio: u64::MAX, free: 0 };
    // Found by whoever verifies, which is the least work.
    let verifies = |limits: Limits| {
        let options = UnpackOptions { limits, budget: budget(), ..unpack_options() };
        archive::verify(&mut whole(&buffer.0), compression, &options, &RUNNING).is_ok()
    };
    let bytes = least(|bytes| verifies(Limits { bytes, ..all }));
    let ratio = bytes.div_ceil(packed.compressed_bytes);
    let at = |number: u64| [number.saturating_sub(1), number];
    for (below, limits) in at(bytes)
        .map(|bytes| Limits { bytes, ..all })
        .into_iter()
        .chain(at(packed.entries).map(|entries| Limits { entries, ..all }))
        .chain(at(ratio).map(|ratio| Limits { ratio, ..all }))
        .enumerate()
        .map(|(number, limits)| (number % 2 == 0, limits))
    {
        // A tree of nothing has no limit to be below.
        let accepted = !below || limits.entries == packed.entries;
        assert_eq!(packs(root, compression, limits), accepted, "packed by {limits:?}");
        assert_eq!(transcodes(&plain, compression, limits), accepted, "transcoded by {limits:?}");
        assert_eq!(unpacks(&buffer.0, compression, limits), accepted, "unpacked by {limits:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_who_apply_limits_agree(
        children in proptest::collection::vec((name(), node()), 0..6),
        compression in prop_oneof![
            Just(Compression::Zstd), Just(Compression::Gzip), Just(Compression::None)
        ],
    ) {
        let top = in_memory();
        let root = top.path().join("root");
        make(&root, &Node::Directory { children, attributes: 1 });
        agree(&root, compression);
    }
}

#[test]
fn many_small_files_count_with_their_headers() {
    let tree = tempfile::tempdir().unwrap();
    for number in 0..500 {
        fs::write(tree.path().join(number.to_string()), vec![1; 1_800]).unwrap();
    }
    let limits = Limits { bytes: 1_000_000, ..Limits::default() };
    assert!(!packs(tree.path(), Compression::Zstd, limits));
    agree(tree.path(), Compression::Zstd);
}

/// What an engine might give: nobody can unpack an archive of it.
#[test]
fn what_no_rule_allows_is_not_transcoded() {
    let entry = |kind, name: &str, link: &str| {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let transcode = |entries: &[Vec<u8>]| {
        let plain = [entries.concat(), vec![0; 1024]].concat();
        let options = pack_options(Compression::None);
        let mut buffer = Buffer::default();
        archive::transcode(&mut whole(&plain), Root::default(), &options, &mut buffer, &RUNNING)
            .map(|packed| (buffer.0, packed.entries))
    };
    for entries in [
        [entry(Link, "link", "missing"), entry(Regular, "file", "")],
        [entry(Regular, "file", ""), entry(Regular, "file/inner", "")],
        [entry(Symlink, "link", "."), entry(Regular, "link/inner", "")],
        [entry(Regular, "d/inner", ""), entry(Regular, "d", "")],
    ] {
        assert!(matches!(transcode(&entries), Err(PackError::Refused { .. })));
    }
    // What takes the place of something is counted as whoever unpacks it does.
    for (entries, count) in [
        (vec![entry(Regular, "file", ""), entry(Link, "file", "file")], 1),
        (vec![entry(Directory, "d", ""), entry(Directory, "d", "")], 1),
        (vec![entry(Regular, "file", ""), entry(Symlink, "file", "x")], 2),
        (vec![entry(Regular, "a/b/c", "")], 1),
    ] {
        let (bytes, entries) = transcode(&entries).unwrap();
        assert_eq!(entries, count);
        assert!(unpacks(&bytes, Compression::None, Limits::default()));
    }
    // Directories that are only implied count.
    let plain = [entry(Regular, "a/b/c", ""), vec![0; 1024]].concat();
    for (entries, expected) in [(2, false), (3, true)] {
        let limits = Limits { entries, ..Limits::default() };
        assert_eq!(transcodes(&plain, Compression::None, limits), expected);
    }
}

#[test]
fn a_header_that_nobody_would_take_is_not_written() {
    let tree = tempfile::tempdir().unwrap();
    let file = tree.path().join("file");
    fs::write(&file, "content").unwrap();
    for number in 0..20 {
        // Where the file system takes no more of them there is nothing to refuse.
        let (name, value) = (format!("user.number{number}"), vec![1; 60_000]);
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(&file, &name, &value, flags).is_err() {
            return;
        }
    }
    let options = pack_options(Compression::None);
    let result = archive::pack(tree.path(), &options, &mut Buffer::default(), &RUNNING);
    match result {
        Err(PackError::Refused { path, reason }) => {
            assert_eq!(path, "file");
            assert!(reason.contains("more than 1048576"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
