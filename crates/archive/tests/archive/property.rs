//! Any tree survives.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use archive::Compression;
use proptest::prelude::*;

use super::{listing, pack, scan, scan_archive, transcode, unpack, validate};

#[derive(Clone, Debug)]
enum Node {
    File {
        content: Vec<u8>,
        mode: u32,
    },
    Directory {
        children: Vec<(String, Node)>,
        mode: u32,
    },
    Symlink(String),
    /// Another name of some file of the tree.
    Hardlink(usize),
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        (any::<u8>(), 0..2_500_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ];
    let leaf = prop_oneof![
        4 => (content, 0..0o1000_u32).prop_map(|(content, mode)| Node::File { content, mode }),
        1 => "[a-z/]{1,120}".prop_map(Node::Symlink),
        1 => (0..100_usize).prop_map(Node::Hardlink),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        (proptest::collection::vec((name(), inner), 0..8), 0o700..0o1000_u32)
            .prop_map(|(children, mode)| Node::Directory { children, mode })
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,2}",
        "\\PC{1,40}".prop_filter("no path", |name| {
            !name.contains('/') && name != "." && name != ".." && name.len() < 250
        }),
        "[x]{90,120}",
    ]
}

fn make(path: &Path, node: &Node, files: &mut Vec<std::path::PathBuf>) {
    match node {
        Node::File { content, mode } => {
            fs::write(path, content).unwrap();
            fs::set_permissions(path, PermissionsExt::from_mode(*mode)).unwrap();
            files.push(path.to_owned());
        }
        Node::Directory { children, mode } => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                if path.join(name).symlink_metadata().is_err() {
                    make(&path.join(name), child, files);
                }
            }
            fs::set_permissions(path, PermissionsExt::from_mode(*mode)).unwrap();
        }
        // An absolute target would be refused.
        Node::Symlink(target) => symlink(format!("x{target}"), path).unwrap(),
        Node::Hardlink(number) => {
            if !files.is_empty() {
                fs::hard_link(&files[number % files.len()], path).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(
        children in proptest::collection::vec((name(), node()), 0..8),
        compression in prop_oneof![
            Just(Compression::Zstd), Just(Compression::Gzip), Just(Compression::None)
        ],
    ) {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        make(&root, &Node::Directory { children, mode: 0o755 }, &mut Vec::new());
        let bytes = pack(&root, compression);
        let copy = unpack(&bytes, compression);
        prop_assert_eq!(listing(&copy.root), listing(&root));
        let digest = scan(&root).digest;
        prop_assert_eq!(scan(&copy.root).digest, digest);
        prop_assert_eq!(copy.unpacked.trailer.map(|trailer| trailer.digest), Some(digest));
        prop_assert_eq!(copy.unpacked.digest, Some(digest));
        prop_assert!(pack(&copy.root, compression) == bytes);
        // The same by way of somebody who takes and gives plain archives.
        let plain = validate(&bytes, compression);
        prop_assert_eq!(listing(&unpack(&plain, Compression::None).root), listing(&root));
        prop_assert!(transcode(&plain, compression) == bytes);
        prop_assert_eq!(scan_archive(&plain).digest, digest);
    }
}
