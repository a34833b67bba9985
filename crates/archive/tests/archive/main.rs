//! Archives of volumes, through the library: there and back, what other tools make and read, and what
//! an enemy would send.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod damage;
mod enemy;
mod fidelity;
mod hostile;
mod limits;
mod packing;
mod pressure;
mod property;
mod stopping;
mod tools;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::LazyLock;

use archive::{
    Budget, Compression, Control, Limits, OutsideLinks, PackError, PackOptions, Packed, Root, Scan,
    Setuid, Sink, Source, UnpackError, UnpackOptions, Unpacked,
};
use bytes::Bytes;
use tempfile::TempDir;

static RUNNING: LazyLock<Control> = LazyLock::new(Control::new);

fn budget() -> Budget {
    Budget::new(128 << 20)
}

fn pack_options(compression: Compression) -> PackOptions {
    PackOptions {
        compression,
        outside_links: OutsideLinks::Refuse,
        setuid: Setuid::Keep,
        limits: Limits::default(),
        budget: budget(),
    }
}

fn unpack_options() -> UnpackOptions {
    UnpackOptions {
        limits: Limits::default(),
        outside_links: OutsideLinks::Refuse,
        setuid: Setuid::Keep,
        expected: None,
        sealed: false,
        budget: budget(),
    }
}

/// An archive in memory.
#[derive(Default)]
struct Buffer(Vec<u8>);

impl Sink for Buffer {
    fn write(&mut self, part: Bytes) -> io::Result<()> {
        self.0.extend_from_slice(&part);
        Ok(())
    }
}

/// The same as a source, in parts of a size that divides nothing.
struct Parts<'a>(std::slice::Chunks<'a, u8>);

impl Source for Parts<'_> {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.next().map(Bytes::copy_from_slice))
    }
}

/// A source that knows how large it is.
struct Whole<'a>(Option<&'a [u8]>, usize);

impl Source for Whole<'_> {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.take().map(Bytes::copy_from_slice))
    }

    fn size(&self) -> Option<u64> {
        Some(self.1 as u64)
    }
}

fn whole(bytes: &[u8]) -> Whole<'_> {
    Whole(Some(bytes), bytes.len())
}

fn parts(bytes: &[u8]) -> Parts<'_> {
    Parts(bytes.chunks(10_007))
}

fn scan(root: &Path) -> Scan {
    archive::scan(root, None, &pack_options(Compression::Zstd), &RUNNING).unwrap()
}

fn pack_with(root: &Path, options: &PackOptions) -> Result<(Vec<u8>, Packed), PackError> {
    let mut buffer = Buffer::default();
    let packed = archive::pack(root, options, &mut buffer, &RUNNING)?;
    Ok((buffer.0, packed))
}

fn pack(root: &Path, compression: Compression) -> Vec<u8> {
    pack_with(root, &pack_options(compression)).unwrap().0
}

/// A directory in memory, if there is enough of that and it keeps attributes, else on the disk: for many
/// small files, with which a test would do little but wait for the disk.
fn in_memory() -> TempDir {
    const ROOM: u64 = 256 << 20;
    let takes_all = |directory: &TempDir| {
        let (path, name) = (directory.path(), "user.test");
        let room =
            rustix::fs::statvfs(path).is_ok_and(|found| found.f_bavail * found.f_frsize > ROOM);
        room && rustix::fs::setxattr(path, name, b"", rustix::fs::XattrFlags::empty()).is_ok()
            && rustix::fs::removexattr(path, name).is_ok()
    };
    let found = tempfile::tempdir_in("/dev/shm").ok().filter(takes_all);
    found.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// A tree that came out of an archive.
struct Tree {
    /// Has nothing but the tree and what lies beside it.
    _top: TempDir,
    root: std::path::PathBuf,
    unpacked: Unpacked,
}

fn unpack_with(
    bytes: &[u8],
    compression: Compression,
    options: &UnpackOptions,
) -> Result<Tree, UnpackError> {
    unpack_below(tempfile::tempdir().unwrap(), bytes, compression, options)
}

/// The same in an empty directory.
fn unpack_below(
    top: TempDir,
    bytes: &[u8],
    compression: Compression,
    options: &UnpackOptions,
) -> Result<Tree, UnpackError> {
    let root = top.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let unpacked = archive::unpack(&mut parts(bytes), compression, &root, options, &RUNNING)?;
    Ok(Tree { _top: top, root, unpacked })
}

fn unpack(bytes: &[u8], compression: Compression) -> Tree {
    unpack_with(bytes, compression, &unpack_options()).unwrap()
}

fn validate(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut plain = Buffer::default();
    archive::validate(&mut parts(bytes), compression, &unpack_options(), &mut plain, &RUNNING)
        .unwrap();
    plain.0
}

fn transcode(plain: &[u8], compression: Compression) -> Vec<u8> {
    transcode_of(plain, Root::default(), compression)
}

fn transcode_of(plain: &[u8], root: Root, compression: Compression) -> Vec<u8> {
    let mut buffer = Buffer::default();
    let options = pack_options(compression);
    archive::transcode(&mut parts(plain), root, &options, &mut buffer, &RUNNING).unwrap();
    buffer.0
}

fn scan_archive(plain: &[u8]) -> Scan {
    let options = pack_options(Compression::Zstd);
    archive::scan_archive(&mut parts(plain), &options, &RUNNING).unwrap()
}

/// Everything that an archive keeps, a line for each entry: comparable between trees.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inodes = std::collections::HashMap::new();
    list(root, root, &mut inodes, &mut lines);
    lines
}

fn list(
    root: &Path,
    path: &Path,
    inodes: &mut std::collections::HashMap<u64, usize>,
    lines: &mut Vec<String>,
) {
    let stat = path.symlink_metadata().unwrap();
    let number = inodes.len();
    let inode = *inodes.entry(stat.ino()).or_insert(number);
    let content = if stat.is_symlink() {
        format!("{:?}", std::fs::read_link(path).unwrap())
    } else if stat.is_file() {
        blake3::hash(&std::fs::read(path).unwrap()).to_string()
    } else {
        String::new()
    };
    let xattrs = match stat.is_symlink() {
        true => Vec::new(),
        false => attributes(path),
    };
    lines.push(format!(
        "{:?} {inode} {:o} {}:{} {}.{:09} {content} {xattrs:?}",
        path.strip_prefix(root).unwrap(),
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.mtime(),
        stat.mtime_nsec(),
    ));
    if stat.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            list(root, &path.join(name), inodes, lines);
        }
    }
}

/// The attributes that users have set.
fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::listxattr(path, &mut names[..]).unwrap_or(0);
    let mut found: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0; 4096];
            let length = rustix::fs::getxattr(path, &name, &mut value[..]).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect();
    found.sort();
    found
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}
