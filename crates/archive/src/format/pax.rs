//! Records of PAX headers: `length key=value\n`.
//!
//! Unlike the reader of the `tar` crate this one takes values with line ends, which attributes may
//! have.

use std::io::Write;

/// Appends a record.
pub fn write(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    // A write into a vector cannot fail.
    _ = write!(out, "{length} ");
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Key and value.
pub type Record<'a> = (&'a [u8], &'a [u8]);

/// The records of a header. The last one is `None` if it is malformed from there on.
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    std::iter::from_fn(move || {
        // Some writers pad with NUL characters.
        if bytes.is_empty() || bytes[0] == 0 {
            return None;
        }
        let first = first(bytes);
        bytes = first.map_or(&[], |(_, rest)| rest);
        Some(first.map(|(record, _)| record))
    })
}

/// The first record and what follows it.
fn first(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = number(&bytes[..space])?.try_into().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), &bytes[length..]))
}

/// Digits only.
pub fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Vec<Record<'_>>> {
        records(bytes).collect()
    }

    #[test]
    fn lengths_count_themselves() {
        for size in [0, 1, 80, 88, 89, 90, 91, 980, 985, 986, 987, 988, 10_000] {
            let mut out = Vec::new();
            write(b"a", &vec![b'\n'; size], &mut out);
            write(b"b", b"c=d", &mut out);
            let value = vec![b'\n'; size];
            assert_eq!(read(&out), Some(vec![(&b"a"[..], &value[..]), (b"b", b"c=d")]));
        }
    }

    #[test]
    fn malformed_records_are_no_records() {
        for bytes in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b\n\n",
            b"99999999999999999999 a=b\n",
            b"5 abc\n",
            b"0 a=b\n",
            b"-1 a=b\n",
        ] {
            assert_eq!(read(bytes), None, "{}", bytes.escape_ascii());
        }
        assert_eq!(read(b""), Some(Vec::new()));
    }
}
