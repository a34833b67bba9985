//! Archives under every kind of pressure: little memory, few threads, several at once, files and frames
//! around every internal limit. All of them end.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::{Budget, Compression, Control, PackOptions, Sink, UnpackOptions};
use bytes::Bytes;
use zstd::zstd_safe::CParameter;

use super::{Buffer, in_memory, parts};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Turns a hang into a failure.
pub fn watched<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = work();
        _ = sender.send(());
        result
    });
    if done.recv_timeout(Duration::from_secs(300))
        == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
    {
        panic!("{what}: it hangs");
    }
    thread.join().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Zeros,
    /// About a half of its size when compressed.
    Text,
    Random,
}

/// Content that is the same for the same number.
fn content(size: usize, kind: Kind, number: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut reader = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
    match kind {
        Kind::Zeros => {}
        Kind::Random => reader.fill(&mut bytes),
        Kind::Text => {
            reader.fill(&mut bytes);
            bytes.iter_mut().for_each(|byte| *byte = b'a' + (*byte & 15));
        }
    }
    bytes
}

/// What files hold, made once: files of the same size and kind hold the same.
type Files = Arc<Vec<Bytes>>;

fn files(sizes: impl IntoIterator<Item = (usize, Kind)>) -> Files {
    let mut made: HashMap<_, Bytes> = HashMap::new();
    let sizes = sizes.into_iter().map(|(size, kind)| {
        let number = made.len();
        let content = || content(size, kind, number).into();
        made.entry((size, kind as u8)).or_insert_with(content).clone()
    });
    Arc::new(sizes.collect())
}

fn path(number: usize) -> String {
    format!("d{}/f{number}", number % 7)
}

fn make(root: &Path, files: &Files) {
    for (number, content) in files.iter().enumerate() {
        let path = root.join(path(number));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn check(root: &Path, files: &Files) {
    // Memory for whole files takes longer than to read them.
    let mut found = vec![0; MIB];
    for (number, content) in files.iter().enumerate() {
        let what = format!("file {number} of {} bytes", content.len());
        let mut file = File::open(root.join(path(number))).unwrap();
        assert_eq!(file.metadata().unwrap().len(), content.len() as u64, "{what}");
        for expected in content.chunks(MIB) {
            let found = &mut found[..expected.len()];
            file.read_exact(found).unwrap();
            assert!(found == expected, "{what}");
        }
    }
}

fn pack_options(compression: Compression, budget: &Budget) -> PackOptions {
    PackOptions { budget: budget.clone(), ..super::pack_options(compression) }
}

fn unpack_options(budget: &Budget) -> UnpackOptions {
    UnpackOptions { budget: budget.clone(), ..super::unpack_options() }
}

fn packed(files: &Files, compression: Compression, budget: &Budget) -> Vec<u8> {
    let tree = tempfile::tempdir().unwrap();
    make(tree.path(), files);
    let mut buffer = Buffer::default();
    let options = pack_options(compression, budget);
    archive::pack(tree.path(), &options, &mut buffer, &Control::new()).unwrap();
    buffer.0
}

/// Takes whatever comes.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: Bytes) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks an archive several times at once with one budget, and validates it to a plain one once more.
fn unpack_at_once(
    archive: &Arc<Vec<u8>>,
    compression: Compression,
    files: &Files,
    volumes: usize,
    budget: &Budget,
) {
    std::thread::scope(|scope| {
        for _ in 0..volumes {
            scope.spawn(|| {
                let root = match files.iter().all(|content| content.len() <= KIB) {
                    true => in_memory(),
                    false => tempfile::tempdir().unwrap(),
                };
                let options = unpack_options(budget);
                let control = Control::new();
                let mut source = parts(archive);
                let unpacked =
                    archive::unpack(&mut source, compression, root.path(), &options, &control);
                unpacked.unwrap();
                check(root.path(), files);
            });
        }
        scope.spawn(|| {
            let mut source = parts(archive);
            let options = unpack_options(budget);
            let control = Control::new();
            let validated =
                archive::validate(&mut source, compression, &options, &mut Nowhere, &control);
            validated.unwrap();
        });
    });
}

/// Budgets from the smallest one on, with few and many threads and volumes.
fn under_pressure(what: &str, files: &Files, compressions: &[Compression]) {
    let smallest = Budget::SMALLEST;
    let few = [0, 2 * smallest + MIB].into_iter().flat_map(|bytes| {
        [1, 2, 8].into_iter().flat_map(move |threads| [1, 2].map(|all| (bytes, threads, all)))
    });
    // All of them together would only take longer.
    let many =
        [smallest + 1, 112 * MIB].into_iter().flat_map(|bytes| [3, 8].map(|all| (bytes, 2, all)));
    let pressures: Vec<_> = few.chain(many).collect();
    for compression in compressions.iter().copied() {
        println!("{what}, {compression:?}");
        under(files, compression, &pressures);
    }
}

/// `pressures` are the bytes of a budget, the number of its threads and that of volumes at once.
fn under(files: &Files, compression: Compression, pressures: &[(usize, usize, usize)]) {
    let archive = Arc::new(packed(files, compression, &Budget::new(0)));
    for (bytes, threads, volumes) in pressures.iter().copied() {
        let (archive, files) = (archive.clone(), files.clone());
        let name = format!("{bytes} bytes, {threads} threads, {volumes} volumes");
        watched(&name, move || {
            let budget = Budget::with_threads(bytes, threads);
            unpack_at_once(&archive, compression, &files, volumes, &budget);
        });
    }
}

#[test]
fn many_files_that_fill_the_memory_are_restored_at_once() {
    // Files that are finished, and wait for others to be written with, must not keep the memory of the
    // next frame.
    under_pressure("900 kB", &files([(900_000, Kind::Random); 34]), &[Compression::Zstd]);
    under_pressure("512 KiB", &files([(512 * KIB, Kind::Random); 60]), &[Compression::Zstd]);
}

#[test]
fn blocks_that_no_frame_is_around_are_restored_at_once() {
    let compressions = [Compression::Gzip, Compression::None];
    // Text takes most of the time, and only to be decompressed.
    let sizes = [(MIB, Kind::Text), (MIB, Kind::Random), (MIB, Kind::Random)];
    let files = files(std::iter::repeat_n(sizes, 8).flatten());
    under_pressure("1 MiB", &files, &compressions);
}

#[test]
fn small_files_are_restored_at_once() {
    under_pressure("1 KiB", &files([(KIB, Kind::Random); 500]), &Compression::ALL);
}

#[test]
fn files_around_every_limit_are_restored_at_once() {
    let limits = [KIB, 64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 8 * MIB];
    let kinds = [Kind::Random, Kind::Text, Kind::Zeros];
    let around = limits.into_iter().enumerate().flat_map(|(number, limit)| {
        [limit - 1, limit, limit + 1].map(|size| (size, kinds[number % 3]))
    });
    let others = [(0, Kind::Zeros)].into_iter().chain([(512, Kind::Random); 31]);
    under_pressure("limits", &files(around.chain(others)), &[Compression::Zstd]);
}

#[test]
fn large_files_are_restored_at_once() {
    for kind in [Kind::Random, Kind::Zeros] {
        for sizes in [[16 * MIB + 1, 32 * MIB - 1], [32 * MIB, 32 * MIB + 1], [KIB, 40 * MIB]] {
            let files = files(sizes.map(|size| (size, kind)));
            // Every two of these values meet.
            let pressures = [(112 * MIB, 1, 3), (112 * MIB, 2, 1), (0, 1, 1), (0, 2, 3)];
            under(&files, Compression::Zstd, &pressures);
        }
    }
}

#[test]
fn trees_are_packed_at_once() {
    let small = [(900_000, Kind::Random); 24].into_iter();
    let large = [(8 * MIB + 1, Kind::Random), (17 * MIB, Kind::Text), (KIB, Kind::Text)];
    let files = files(small.chain(large));
    let tree = Arc::new(tempfile::tempdir().unwrap());
    make(tree.path(), &files);
    let mut expected = Buffer::default();
    let options = pack_options(Compression::Zstd, &Budget::new(0));
    archive::pack(tree.path(), &options, &mut expected, &Control::new()).unwrap();
    let expected = Arc::new(expected.0);
    for (bytes, threads, volumes) in
        [(0, 1, 1), (0, 2, 3), (0, 8, 8), (2 * Budget::SMALLEST, 2, 3), (112 * MIB, 8, 3)]
    {
        let (tree, expected) = (tree.clone(), expected.clone());
        watched(&format!("{bytes}, {threads}, {volumes}"), move || {
            let budget = Budget::with_threads(bytes, threads);
            std::thread::scope(|scope| {
                for _ in 0..volumes {
                    scope.spawn(|| pack_and_transcode(tree.path(), &budget, &expected));
                }
            });
        });
    }
}

/// Packs a tree, and makes the same archive of a plain one.
fn pack_and_transcode(tree: &Path, budget: &Budget, expected: &[u8]) {
    let options = pack_options(Compression::Zstd, budget);
    let (mut packed, control) = (Buffer::default(), Control::new());
    archive::pack(tree, &options, &mut packed, &control).unwrap();
    assert!(packed.0 == expected);
    let mut plain = Buffer::default();
    let unpacked = unpack_options(budget);
    archive::validate(&mut parts(&packed.0), Compression::Zstd, &unpacked, &mut plain, &control)
        .unwrap();
    let (mut again, root) = (Buffer::default(), archive::Root::default());
    archive::transcode(&mut parts(&plain.0), root, &options, &mut again, &control).unwrap();
    assert!(again.0 == expected);
}

/// How a foreign archive is made.
#[derive(Clone, Copy, Debug)]
struct Frames {
    /// Of content, in bytes.
    size: usize,
    /// Whether frames say how large they are, as those of pzstd do.
    announced: bool,
    /// Whether frames say how large their content is.
    sized: bool,
    window: Option<u32>,
}

fn plain(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (number, content) in files.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_mode(0o644);
        builder.append_data(&mut header, path(number), content.as_ref()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn foreign(plain: &[u8], frames: Frames) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.include_contentsize(frames.sized).unwrap();
    if let Some(window) = frames.window {
        compressor.set_parameter(CParameter::WindowLog(window)).unwrap();
    }
    let mut archive = Vec::new();
    for chunk in plain.chunks(frames.size) {
        let frame = compressor.compress(chunk).unwrap();
        if frames.announced {
            archive.extend_from_slice(&[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0]);
            archive.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_le_bytes());
        }
        archive.extend_from_slice(&frame);
    }
    archive
}

const BUDGETS: [usize; 2] = [Budget::SMALLEST, 112 * MIB];

/// All ways to make frames of a size, unpacked with every budget.
fn foreign_frames(size: usize, files: &Files, volumes: &[usize]) {
    let plain = plain(files);
    for (announced, sized) in [(true, true), (true, false), (false, true), (false, false)] {
        for window in [None, Some(27)].into_iter().filter(|window| window.is_none() || size > MIB) {
            let frames = Frames { size, announced, sized, window };
            restored(&plain, frames, files, &BUDGETS, volumes);
        }
    }
}

/// The same of several sizes above that of a block. Only frames with both sizes in front of them are
/// unpacked as a whole, so for others the first and the last size have to do; every two of their
/// properties and the budget meet.
fn large_foreign_frames(sizes: &[usize], files: &Files) {
    let plain = plain(files);
    for (number, size) in sizes.iter().copied().enumerate() {
        for window in [None, Some(27)] {
            let frames = Frames { size, announced: true, sized: true, window };
            restored(&plain, frames, files, &BUDGETS, &[2]);
            if number > 0 && number + 1 < sizes.len() {
                continue;
            }
            for (announced, sized) in [(true, false), (false, true), (false, false)] {
                let frames = Frames { size, announced, sized, window };
                let budget = BUDGETS[usize::from(announced ^ sized ^ window.is_some())];
                restored(&plain, frames, files, &[budget], &[2]);
            }
        }
    }
}

/// Makes an archive of such frames, and unpacks it with these budgets and so many times at once.
fn restored(plain: &[u8], frames: Frames, files: &Files, budgets: &[usize], volumes: &[usize]) {
    let archive = Arc::new(foreign(plain, frames));
    for (budget, volumes) in
        budgets.iter().flat_map(|budget| volumes.iter().map(|volumes| (*budget, *volumes)))
    {
        let (archive, files) = (archive.clone(), files.clone());
        watched(&format!("{frames:?}, {budget}, {volumes}"), move || {
            let budget = Budget::with_threads(budget, 2);
            unpack_at_once(&archive, Compression::Zstd, &files, volumes, &budget);
        });
    }
}

#[test]
fn foreign_archives_of_small_frames_are_restored() {
    let sizes =
        [(900, Kind::Text), (70_000, Kind::Random), (MIB, Kind::Random), (3 * MIB, Kind::Text)];
    let files = files(sizes);
    for size in [KIB, 64 * KIB + 1, MIB - 1, MIB, MIB + 1] {
        foreign_frames(size, &files, &[1, 3]);
    }
}

#[test]
fn foreign_archives_of_frames_around_our_own_are_restored() {
    let small = [(900_000, Kind::Random); 30].into_iter();
    let files = files(small.chain([(9 * MIB, Kind::Text)]));
    let sizes = [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB, 24 * MIB];
    large_foreign_frames(&sizes, &files);
}

#[test]
fn foreign_archives_of_frames_that_no_share_is_large_enough_for_are_restored() {
    let small = [(900_000, Kind::Random); 40].into_iter();
    let files = files(small.chain([(30 * MIB, Kind::Text)]));
    large_foreign_frames(&[32 * MIB - 1, 32 * MIB, 32 * MIB + 1, 64 * MIB], &files);
}

#[test]
fn a_foreign_archive_of_frames_of_256_mib_is_restored() {
    let small = [(MIB, Kind::Text); 60].into_iter();
    let files = files(small.chain([(200 * MIB, Kind::Zeros)]));
    let plain = plain(&files);
    // Frames of this size are never unpacked as a whole. Every two properties and the budget meet.
    for (announced, sized) in [(true, true), (true, false), (false, true), (false, false)] {
        for window in [None, Some(27)] {
            let frames = Frames { size: 256 * MIB, announced, sized, window };
            let budget = BUDGETS[usize::from(announced ^ sized ^ window.is_some())];
            restored(&plain, frames, &files, &[budget], &[1]);
        }
    }
}
