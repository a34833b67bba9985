//! Prints how fast secrets are hidden, and what it costs to prepare that.
//!
//!     cargo run --release -p mask --example throughput

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use mask::{Masker, SecretSet, SecretValue};

/// Bytes of each text.
const SIZE: usize = 64 << 20;

/// Bytes of a read from a pipe.
const CHUNK: usize = 64 << 10;

fn main() {
    for (name, count, size) in [
        ("1 of 40", 1, 40),
        ("20 of 40", 20, 40),
        ("20 of 1700", 20, 1700),
        ("1 of 512 KiB", 1, 512 << 10),
    ] {
        for is_text in [true, false] {
            let secrets = secrets(count, size, is_text);
            let before = memory();
            let set = SecretSet::new(secrets.clone());
            let (peak, after) = memory();
            let kind = if is_text { "lines" } else { "bytes" };
            let (peak, kept) = (peak.saturating_sub(before.1), after.saturating_sub(before.1));
            println!("prepare {name} {kind}: {peak} KiB at most, {kept} KiB kept");
            drop(set);
            // The clock of a thread ticks too slowly for less.
            let start = busy();
            let mut times = 0;
            while busy().saturating_sub(start) < Duration::from_millis(200) {
                black_box(SecretSet::new(secrets.clone()));
                times += 1;
            }
            println!("prepare {name} {kind}: {:.2?}", busy().saturating_sub(start) / times);
        }
    }
    let adversary =
        secrets(20, 40, true).into_iter().map(|(_, value)| value.expose()[..38].to_vec());
    let adversary: Vec<u8> = adversary.collect::<Vec<_>>().concat();
    let texts = [
        ("log", log()),
        ("base64", letters(SIZE, 76)),
        ("random", bytes(SIZE, 5)),
        ("beginnings of secrets", adversary.into_iter().cycle().take(SIZE).collect()),
    ];
    for (name, text) in texts {
        for count in [0, 1, 20] {
            let set = SecretSet::new(secrets(count, 40, true));
            println!("{name}, {count} secrets: {:.2} GiB/s", rate(&set, &text));
        }
        let set = SecretSet::new(secrets(1, 512 << 10, true));
        println!("{name}, 1 secret of 512 KiB: {:.2} GiB/s", rate(&set, &text));
    }
}

/// The best of three times.
fn rate(set: &SecretSet, text: &[u8]) -> f64 {
    let mut best = Duration::MAX;
    let mut out = Vec::with_capacity(2 * CHUNK);
    for _ in 0..3 {
        let start = busy();
        let mut masker = Masker::new(set);
        for chunk in text.chunks(CHUNK) {
            out.clear();
            masker.push(chunk, &mut out);
            black_box(&out);
        }
        masker.flush(&mut out);
        best = best.min(busy().saturating_sub(start));
    }
    text.len() as f64 / best.as_secs_f64() / f64::from(1 << 30)
}

fn secrets(count: usize, size: usize, is_text: bool) -> Vec<(String, SecretValue)> {
    let secret = |index: usize| {
        let seed = index as u64 + 77;
        if is_text { letters_of(size, 64, seed) } else { bytes(size, seed) }
    };
    (0..count).map(|index| (format!("secret{index}"), SecretValue::new(secret(index)))).collect()
}

fn log() -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0.. {
        if text.len() >= SIZE {
            break;
        }
        let millis = line % 1000;
        text.extend(format!(
            "2026-01-04T16:20:{:02}.{millis:03}Z  INFO compile: Compiling serde_json v1.0.{line} (/src/crates/{}) took {millis} ms\n",
            line % 60, line * 7919 % 1000,
        ).bytes());
    }
    text
}

fn letters(size: usize, columns: usize) -> Vec<u8> {
    letters_of(size, columns, 3)
}

fn letters_of(size: usize, columns: usize, seed: u64) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = bytes(size, seed);
    for (index, byte) in text.iter_mut().enumerate() {
        *byte =
            if index % (columns + 1) == columns { b'\n' } else { LETTERS[usize::from(*byte % 64)] };
    }
    text
}

/// Bytes by SplitMix64.
fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x1234_5678_9ABC_DEF1);
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.flatten().take(size).collect()
}

/// The most KiB of memory since the last call, and those now.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
    };
    let found = (of("VmHWM:"), of("VmRSS:"));
    // Begins to count anew.
    let _ = fs::write("/proc/self/clear_refs", "5");
    found
}

/// How long this thread has run, whatever else the machine does.
fn busy() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
