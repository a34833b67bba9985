//! Entries as headers of a tar archive.

use std::io::Write;

use tar::{EntryType, Header};

use super::extents::Extents;
use super::pax;
use super::stat::{Meta, Time};
use super::xattr::Xattr;

/// The unit of a tar archive, in bytes.
pub const BLOCK: usize = 512;

/// What is to be said of an entry.
pub struct Entry<'a> {
    /// Relative to the root.
    pub path: &'a [u8],
    pub kind: Kind<'a>,
    pub meta: Meta,
    pub xattrs: &'a [Xattr],
}

pub enum Kind<'a> {
    /// With its size in bytes.
    File(u64),
    /// With its size, where it has data, and the length of that list as it stands in the archive.
    Sparse(u64, &'a Extents, u64),
    Directory,
    /// With its target.
    Symlink(&'a [u8]),
    /// With the path of the file that it is another name of.
    Hardlink(&'a [u8]),
}

/// The name that all headers with PAX records have; readers ignore it.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// What fits into a field of eleven octal digits.
const MAX_OCTAL_11: u64 = 0o777_7777_7777;

/// And of seven.
const MAX_OCTAL_7: u32 = 0o777_7777;

/// Appends the entry's header, with records in front of it for what the header itself cannot say.
pub fn write(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let mut records = Vec::new();
    let mut header = Header::new_ustar();
    let mut name = entry.path.to_vec();
    match &entry.kind {
        // Of the root too: `./`.
        Kind::Directory if name.is_empty() => name.extend_from_slice(b"./"),
        Kind::Directory => name.push(b'/'),
        _ => {}
    }
    let (kind, size) = match &entry.kind {
        Kind::File(size) => (EntryType::Regular, *size),
        Kind::Sparse(_, extents, list) => {
            let data: u64 = extents.iter().map(|(_, length)| length).sum();
            (EntryType::Regular, list + data)
        }
        Kind::Directory => (EntryType::Directory, 0),
        Kind::Symlink(_) => (EntryType::Symlink, 0),
        Kind::Hardlink(_) => (EntryType::Link, 0),
    };
    header.set_entry_type(kind);
    // First of all, so that readers that give up on a record they do not know have it.
    if size > MAX_OCTAL_11 {
        pax::write(b"size", size.to_string().as_bytes(), &mut records);
    }
    header.set_size(size.min(MAX_OCTAL_11));
    if let Kind::Sparse(real, ..) = &entry.kind {
        for (key, value) in [("major", "1"), ("minor", "0"), ("realsize", &real.to_string())] {
            pax::write(format!("GNU.sparse.{key}").as_bytes(), value.as_bytes(), &mut records);
        }
        text(&mut records, b"GNU.sparse.name", &name);
        name = b"GNUSparseFile.0/data".to_vec();
    }
    if !set_name(&mut header, &name) {
        text(&mut records, b"path", &name);
        set_name(&mut header, &name[..name.len().min(100)]);
    }
    if let Kind::Symlink(target) | Kind::Hardlink(target) = entry.kind {
        if target.len() > 100 {
            text(&mut records, b"linkpath", target);
        }
        let field = &mut header.as_old_mut().linkname;
        let kept = &target[..target.len().min(field.len())];
        field[..kept.len()].copy_from_slice(kept);
    }
    header.set_mode(entry.meta.mode);
    for (key, id) in [("uid", entry.meta.uid), ("gid", entry.meta.gid)] {
        if id > MAX_OCTAL_7 {
            pax::write(key.as_bytes(), id.to_string().as_bytes(), &mut records);
        }
        let kept = u64::from(id.min(MAX_OCTAL_7));
        if key == "uid" { header.set_uid(kept) } else { header.set_gid(kept) }
    }
    let Time { seconds, nanos } = entry.meta.mtime;
    let whole = u64::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_OCTAL_11);
    if whole.is_none() || nanos > 0 {
        pax::write(b"mtime", decimal(entry.meta.mtime).as_bytes(), &mut records);
    }
    header.set_mtime(whole.unwrap_or(0));
    for (name, value) in entry.xattrs {
        let key = [b"SCHILY.xattr.", name.to_bytes()].concat();
        pax::write(&key, value, &mut records);
    }
    header.set_cksum();
    if !records.is_empty() {
        out.extend_from_slice(records_header(records.len()).as_bytes());
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.extend_from_slice(header.as_bytes());
}

fn records_header(size: usize) -> Header {
    let mut header = Header::new_ustar();
    set_name(&mut header, PAX_NAME);
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_cksum();
    header
}

/// Puts a name into the header, in two parts if need be; returns whether it fits.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    let Some(header) = header.as_ustar_mut() else { return false };
    let (prefix, rest) = if name.len() <= header.name.len() {
        (&b""[..], name)
    } else {
        // The first slash that leaves a rest that fits.
        let from = name.len() - header.name.len() - 1;
        let slash = name.iter().skip(from).position(|byte| *byte == b'/').map(|at| at + from);
        match slash {
            Some(slash) if slash > 0 && slash <= header.prefix.len() && slash + 1 < name.len() => {
                (&name[..slash], &name[slash + 1..])
            }
            _ => return false,
        }
    };
    header.prefix[..prefix.len()].copy_from_slice(prefix);
    header.name[..rest.len()].copy_from_slice(rest);
    true
}

/// A record of text. PAX wants UTF-8 unless told otherwise.
fn text(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let declared = records.windows(9).any(|window| window == b"hdrcharse");
    if std::str::from_utf8(value).is_err() && !declared {
        pax::write(b"hdrcharset", b"BINARY", records);
    }
    pax::write(key, value, records);
}

/// `1.5`, `-0.5`.
fn decimal(time: Time) -> String {
    let Time { seconds, nanos } = time;
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, nanos) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
        (false, nanos) => ("", seconds.unsigned_abs(), nanos),
    };
    let mut text = format!("{sign}{seconds}");
    if nanos > 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text
}

/// The other way round.
pub fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(pax::number(parts.next()?)?).ok()?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next().filter(|fraction| !fraction.is_empty()) {
        let mut digits = *b"000000000";
        let kept = fraction.len().min(digits.len());
        digits[..kept].copy_from_slice(&fraction[..kept]);
        nanos = u32::try_from(pax::number(&digits)?).ok()?;
    }
    Some(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// What every archive ends with.
pub fn end(out: &mut Vec<u8>) {
    // A write into a vector cannot fail.
    _ = out.write_all(&[0; 2 * BLOCK]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_nanosecond() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (1_700_000_000, 5, "1700000000.000000005"),
            (1, 500_000_000, "1.5"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.5"),
            (-2, 1, "-1.999999999"),
        ] {
            let time = Time { seconds, nanos };
            assert_eq!(decimal(time), text);
            assert_eq!(super::time(text.as_bytes()), Some(time));
        }
        assert_eq!(time(b"1.1234567891"), Some(Time { seconds: 1, nanos: 123_456_789 }));
        for text in ["", "x", "1.x", "--1", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }
}
