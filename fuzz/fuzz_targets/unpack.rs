//! Whatever an archive holds, unpacking ends, and nothing outside of the root is touched.

#![no_main]

use std::fs;
use std::io;

use archive::{Budget, Compression, Control, Limits, OutsideLinks, Setuid, Source, UnpackOptions};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

struct Once(Option<Bytes>);

impl Source for Once {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.take())
    }
}

/// Makes the checksums of all headers right, since no mutation ever would.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at + 512 <= bytes.len() {
        let header = &mut bytes[at..at + 512];
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).unwrap_or_default();
        let size = usize::from_str_radix(size, 8).unwrap_or(0);
        at = at.saturating_add(512).saturating_add(size.next_multiple_of(512));
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let (compression, bytes) = match kind % 4 {
        0 => (Compression::Zstd, rest.to_vec()),
        1 => (Compression::Gzip, rest.to_vec()),
        2 => (Compression::None, rest.to_vec()),
        _ => {
            let mut bytes = repaired(rest.to_vec());
            bytes.extend_from_slice(&[0; 1024]);
            (Compression::None, bytes)
        }
    };
    let top = tempfile::tempdir_in("/dev/shm").expect("there is a file system in memory");
    let root = top.path().join("root");
    fs::create_dir(&root).expect("it is writable");
    fs::write(top.path().join("precious"), "precious").expect("it is writable");
    let options = UnpackOptions {
        limits: Limits { entries: 1_000, bytes: 4 << 20, ratio: 1_000, free: 1 << 30 },
        outside_links: if kind & 4 == 0 { OutsideLinks::Refuse } else { OutsideLinks::Keep },
        setuid: if kind & 8 == 0 { Setuid::Drop } else { Setuid::Keep },
        expected: None,
        sealed: false,
        budget: Budget::new(64 << 20),
    };
    let control = Control::new();
    let source = || Once(Some(Bytes::from(bytes.clone())));
    let unpacked = archive::unpack(&mut source(), compression, &root, &options, &control);
    let verified = archive::verify(&mut source(), compression, &options, &control);
    // What can be unpacked can be verified, and the other way round.
    assert_eq!(unpacked.is_ok(), verified.is_ok());
    assert_eq!(fs::read_dir(top.path()).expect("it is readable").count(), 2);
    let precious = fs::read_to_string(top.path().join("precious"));
    assert_eq!(precious.expect("it is there"), "precious");
});
