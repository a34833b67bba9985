//! Archives as an enemy would make them, and what they are after.

use std::fs;
use std::path::PathBuf;

use archive::{Compression, UnpackError, UnpackOptions};
use tar::{EntryType, Header};

use super::{Buffer, RUNNING, listing, parts, unpack_with};

/// Builds an archive entry by entry, with nothing checked.
#[derive(Default)]
pub struct Enemy(pub Vec<u8>);

impl Enemy {
    pub fn add(
        mut self,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        mode: u32,
        data: &[u8],
    ) -> Self {
        self.header(kind, name, link, mode, data.len() as u64);
        self.data(data)
    }

    pub fn header(&mut self, kind: EntryType, name: &[u8], link: &[u8], mode: u32, size: u64) {
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    pub fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.add(EntryType::Regular, name.as_bytes(), b"", 0o644, data.as_bytes())
    }

    pub fn directory(self, name: &str) -> Self {
        self.add(EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).find(|n: &usize| *n == rest + n.to_string().len()).unwrap();
            data.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
        }
        self.add(EntryType::XHeader, b"pax", b"", 0o644, &data)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A root with something of value beside it.
pub struct Prey {
    _top: tempfile::TempDir,
    pub top: PathBuf,
    pub root: PathBuf,
}

impl Prey {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().to_owned();
        let root = top.join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(top.join("outside")).unwrap();
        fs::write(top.join("outside/precious"), "precious").unwrap();
        Self { _top: dir, top, root }
    }

    pub fn unpack(&self, bytes: &[u8], options: &UnpackOptions) -> Result<(), UnpackError> {
        let outside = || {
            let all = listing(&self.top);
            all.into_iter().filter(|line| line.starts_with("\"outside")).collect::<Vec<_>>()
        };
        let before = outside();
        let stop = &RUNNING;
        let result =
            archive::unpack(&mut parts(bytes), Compression::None, &self.root, options, stop);
        assert_eq!(outside(), before);
        // Whatever is refused here is not handed on for others to unpack, and the other way round.
        let mut plain = Buffer::default();
        let validated =
            archive::validate(&mut parts(bytes), Compression::None, options, &mut plain, stop);
        let verified = archive::verify(&mut parts(bytes), Compression::None, options, &RUNNING);
        match (&result, verified) {
            (Ok(_), Ok(_)) => {}
            (Err(error), Err(other)) => assert_eq!(error.to_string(), other.to_string()),
            (result, verified) => panic!("unpacked: {result:?}, verified: {verified:?}"),
        }
        match (&result, validated) {
            (Ok(_), Ok(_)) => {
                let copy = unpack_with(&plain.0, Compression::None, options).unwrap();
                // But for the root, which the archive need not describe.
                assert_eq!(listing(&copy.root)[1..], listing(&self.root)[1..]);
            }
            (Err(error), Err(other)) => assert_eq!(error.to_string(), other.to_string()),
            (result, validated) => panic!("unpacked: {result:?}, handed on: {validated:?}"),
        }
        assert_eq!(fs::read_dir(&self.top).unwrap().count(), 2, "something lies beside the root");
        result.map(drop)
    }
}
