//! The numbers in the header of a tar member: octal digits, or binary for those that need more room.

use tar::Header;

use super::header::BLOCK;
use crate::error::UnpackError;

/// A size or an offset in bytes.
pub fn size(field: &[u8]) -> Result<u64, UnpackError> {
    u64::try_from(number(field)?).map_err(|_| UnpackError::malformed("a size in a header"))
}

/// Seconds since 1970, also before that.
pub fn seconds(field: &[u8]) -> Result<i64, UnpackError> {
    Ok(number(field)?.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

/// A user or a group. One that Linux does not have is nobody's number.
pub fn id(field: &[u8]) -> Result<u32, UnpackError> {
    Ok(u32::try_from(number(field)?).unwrap_or(u32::MAX))
}

/// The permissions with setuid, setgid and sticky bits.
pub fn mode(field: &[u8]) -> Result<u32, UnpackError> {
    // Some archives have bits of the type as well.
    Ok((number(field)? & 0o7777) as u32)
}

/// GNU tar writes numbers that need more than the octal digits of a field as binary ones: the first bit
/// says so, and the rest is a big-endian number in two's complement.
fn number(field: &[u8]) -> Result<i128, UnpackError> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

fn binary(field: &[u8]) -> Result<i128, UnpackError> {
    // The sign stands right behind the mark.
    let sign: i128 = if field[0] & 0x40 == 0 { 0 } else { -1 };
    let first = if sign == 0 { field[0] & 0x7f } else { field[0] };
    // Fields have at most twelve bytes, so nothing is lost.
    Ok(field[1..]
        .iter()
        .fold((sign << 8) | i128::from(first), |number, byte| (number << 8) | i128::from(*byte)))
}

fn octal(field: &[u8]) -> Result<i128, UnpackError> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    // Some programs leave fields empty that they have no number for.
    let text = field[..end].trim_ascii();
    // Fields have at most twelve bytes, so nothing is lost.
    let mut number = 0_u64;
    for byte in text {
        match byte {
            b'0'..=b'7' => number = (number << 3) | u64::from(byte - b'0'),
            _ => return Err(UnpackError::malformed("a number in a header")),
        }
    }
    Ok(number.into())
}

/// Whether a header is one.
pub fn check_sum(header: &Header) -> Result<(), UnpackError> {
    let bytes = header.as_bytes();
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    // The sum counts its own field as spaces.
    let sum = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..BLOCK]);
    match number(&header.as_old().cksum) {
        Ok(expected) if expected == i128::from(sum) => Ok(()),
        _ => Err(UnpackError::malformed("the checksum of a header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let binary = |number: i128, length: usize| {
            let mut field = number.to_be_bytes()[16 - length..].to_vec();
            field[0] |= 0x80;
            field
        };
        for (field, expected) in [
            (b"0000644\0".to_vec(), 0o644),
            (b"   644 \0".to_vec(), 0o644),
            (b"77777777".to_vec(), 0o7777_7777),
            (b"        ".to_vec(), 0),
            (b"\0\0\0\0\0\0\0\0".to_vec(), 0),
            (binary(0, 8), 0),
            (binary(0x3fff_ffff_ffff_ffff, 8), 0x3fff_ffff_ffff_ffff),
            (binary(-1, 8), -1),
            (binary(-40_000_000, 12), -40_000_000),
            (binary(i64::MIN.into(), 12), i64::MIN.into()),
            (binary(i64::MAX.into(), 12), i64::MAX.into()),
            (binary(u64::MAX.into(), 12), u64::MAX.into()),
        ] {
            assert_eq!(number(&field).ok(), Some(expected), "{}", field.escape_ascii());
        }
        for field in [&b"8"[..], b"-1", b"0x1", b"1 2"] {
            assert!(number(field).is_err(), "{}", field.escape_ascii());
        }
        assert!(size(&binary(-1, 12)).is_err());
        assert_eq!(id(&binary(-2, 8)).ok(), Some(u32::MAX));
        assert_eq!(mode(&binary(-1, 8)).ok(), Some(0o7777));
        assert_eq!(seconds(&binary(-1, 12)).ok(), Some(-1));
        assert_eq!(seconds(&binary(i128::from(i64::MIN) * 2, 12)).ok(), Some(i64::MIN));
    }
}
