//! Entries as headers of a tar archive.

use std::borrow::Cow;
use std::fmt::Write;

use tar::{EntryType, Header};

use super::extents::Extents;
use super::pax;
use crate::tree::stat::{Meta, Time};
use crate::tree::xattr::Xattr;

/// Most bytes of one header that precedes a member, such as its records or a long name.
pub const MAX_EXTENSION: u64 = 1 << 20;

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
///
/// A tree may have millions of entries, so nothing here is formatted or allocated that need not be.
///
/// An error says why there can be no such header: nobody would take it.
pub fn write(entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    // The place of the records' own header, and behind it the records, if there are any.
    let start = out.len();
    out.resize(start + BLOCK, 0);
    let mut header = Header::new_ustar();
    let mut name = match &entry.kind {
        // Of the root too: `./`.
        Kind::Directory if entry.path.is_empty() => Cow::Borrowed(&b"./"[..]),
        Kind::Directory => Cow::Owned([entry.path, b"/"].concat()),
        _ => Cow::Borrowed(entry.path),
    };
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
        pax::write(b"size", size.to_string().as_bytes(), out);
    }
    if let Kind::Sparse(real, ..) = &entry.kind {
        for (key, value) in [("major", "1"), ("minor", "0"), ("realsize", &real.to_string())] {
            pax::write(format!("GNU.sparse.{key}").as_bytes(), value.as_bytes(), out);
        }
        text(out, start, b"GNU.sparse.name", &name);
        name = Cow::Borrowed(b"GNUSparseFile.0/data");
    }
    if !set_name(&mut header, &name) {
        text(out, start, b"path", &name);
        set_name(&mut header, &name[..name.len().min(100)]);
    }
    if let Kind::Symlink(target) | Kind::Hardlink(target) = entry.kind {
        if target.len() > 100 {
            text(out, start, b"linkpath", target);
        }
        let field = &mut header.as_old_mut().linkname;
        let kept = &target[..target.len().min(field.len())];
        field[..kept.len()].copy_from_slice(kept);
    }
    for (key, id) in [("uid", entry.meta.uid), ("gid", entry.meta.gid)] {
        if id > MAX_OCTAL_7 {
            pax::write(key.as_bytes(), id.to_string().as_bytes(), out);
        }
    }
    let Time { seconds, nanos } = entry.meta.mtime;
    let whole = u64::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_OCTAL_11);
    if whole.is_none() || nanos > 0 {
        pax::write(b"mtime", decimal(entry.meta.mtime).as_bytes(), out);
    }
    for (name, value) in entry.xattrs {
        let key = [b"SCHILY.xattr.", name.to_bytes()].concat();
        pax::write(&key, value, out);
    }
    let Meta { mode, uid, gid, .. } = entry.meta;
    let numbers = Numbers { mode, uid, gid, size, mtime: whole.unwrap_or(0) };
    numbers.set(&mut header);
    let records = out.len() - start - BLOCK;
    if records as u64 > MAX_EXTENSION {
        out.truncate(start);
        return Err(format!(
            "its names and attributes take {records} bytes, more than {MAX_EXTENSION}"
        ));
    }
    if records == 0 {
        out.truncate(start);
    } else {
        let header = records_header(EntryType::XHeader, records);
        out[start..start + BLOCK].copy_from_slice(header.as_bytes());
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.extend_from_slice(header.as_bytes());
    Ok(())
}

/// A header with a comment, which all readers skip.
pub fn comment(text: &[u8]) -> Vec<u8> {
    let mut out = vec![0; BLOCK];
    pax::write(b"comment", text, &mut out);
    let header = records_header(EntryType::XGlobalHeader, out.len() - BLOCK);
    out[..BLOCK].copy_from_slice(header.as_bytes());
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

fn records_header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_ustar();
    set_name(&mut header, PAX_NAME);
    header.set_entry_type(kind);
    Numbers { mode: 0o644, uid: 0, gid: 0, size: size as u64, mtime: 0 }.set(&mut header);
    header
}

/// The fields of a header that are written in octal digits.
struct Numbers {
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: u64,
}

impl Numbers {
    /// Completes a header. What does not fit stands in a record too.
    fn set(&self, header: &mut Header) {
        let fields = header.as_old_mut();
        octal(&mut fields.mode, self.mode.into());
        octal(&mut fields.uid, self.uid.min(MAX_OCTAL_7).into());
        octal(&mut fields.gid, self.gid.min(MAX_OCTAL_7).into());
        octal(&mut fields.size, self.size.min(MAX_OCTAL_11));
        octal(&mut fields.mtime, self.mtime);
        header.set_cksum();
    }
}

/// Fills a field with a number and the NUL that ends it.
fn octal(field: &mut [u8], mut number: u64) {
    let Some((end, digits)) = field.split_last_mut() else { return };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number & 7) as u8;
        number >>= 3;
    }
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

/// A record of text. PAX wants UTF-8 unless told otherwise, once for all records from `start` on.
fn text(out: &mut Vec<u8>, start: usize, key: &[u8], value: &[u8]) {
    let declared = out[start..].windows(9).any(|window| window == b"hdrcharse");
    if std::str::from_utf8(value).is_err() && !declared {
        pax::write(b"hdrcharset", b"BINARY", out);
    }
    pax::write(key, value, out);
}

/// `1.5`, `-0.5`.
fn decimal(time: Time) -> String {
    let Time { seconds, nanos } = time;
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, nanos) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
        (false, nanos) => ("", seconds.unsigned_abs(), nanos),
    };
    let mut text = String::with_capacity(32);
    // A write into a string cannot fail.
    _ = write!(text, "{sign}{seconds}");
    if nanos > 0 {
        _ = write!(text, ".{nanos:09}");
        text.truncate(text.trim_end_matches('0').len());
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
    out.resize(out.len() + 2 * BLOCK, 0);
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
