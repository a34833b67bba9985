//! What the tar stream of an archive says of itself, however it is compressed.
//!
//! A PAX header at the start has a comment that announces the seal. The seal is another such header
//! behind the end of the archive, where no tar looks: it has the digest of the tree and a hash over all
//! headers. So damage to any content, time or owner shows, also in archives without checksums. Archives
//! of other programs have none of this.
//!
//! Archives compressed with Zstandard have a [trailer](super::trailer) as well, behind the last frame.

use super::header::comment;
use super::pax;
use super::trailer::Trailer;
use crate::error::UnpackError;
use crate::hash::TreeDigest;

/// Starts the comments.
const NAME: &str = "ci-seal";

/// Follows the name.
const VERSION: &str = "1";

/// Follows the name at the start of an archive that ends with a trailer as well.
const WITH_TRAILER: &str = "trailer";

/// What is known of an archive at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    pub trailer: Trailer,
    /// Over all of the tar stream up to its end but the announcement, and the content of files with what
    /// pads it.
    pub headers: [u8; 32],
}

/// What the start of an archive announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub with_trailer: bool,
}

impl Seal {
    /// The header that says it.
    pub fn to_comment(self) -> Vec<u8> {
        let Trailer { digest, entries, bytes } = self.trailer;
        let headers = TreeDigest(self.headers);
        comment(format!("{NAME} {VERSION} {digest} {entries} {bytes} {headers}").as_bytes())
    }

    /// The seal in a comment, if that is one. Fails for one of a newer version.
    pub fn of(comment: &[u8]) -> Result<Option<Self>, UnpackError> {
        Ok(versioned(comment)?.and_then(Self::read))
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(' ');
        let digest = parts.next()?.parse().ok()?;
        let entries = parts.next()?.parse().ok()?;
        let bytes = parts.next()?.parse().ok()?;
        let TreeDigest(headers) = parts.next()?.parse().ok()?;
        let trailer = Trailer { digest, entries, bytes };
        parts.next().is_none().then_some(Self { trailer, headers })
    }
}

impl Announced {
    /// The header that says it.
    pub fn to_comment(self) -> Vec<u8> {
        match self.with_trailer {
            true => comment(format!("{NAME} {VERSION} {WITH_TRAILER}").as_bytes()),
            false => comment(format!("{NAME} {VERSION}").as_bytes()),
        }
    }

    /// What a comment announces, if it is an announcement. Fails for one of a newer version.
    pub fn of(comment: &[u8]) -> Result<Option<Self>, UnpackError> {
        Ok(match versioned(comment)? {
            Some(b"") => Some(Self { with_trailer: false }),
            Some(text) if text == WITH_TRAILER.as_bytes() => Some(Self { with_trailer: true }),
            _ => None,
        })
    }
}

/// Whether a comment looks like a seal, and not like what announces one.
pub fn is_seal(comment: &[u8]) -> bool {
    comment.starts_with(NAME.as_bytes()) && !matches!(Announced::of(comment), Ok(Some(_)))
}

/// What follows name and version in a comment of ours.
fn versioned(comment: &[u8]) -> Result<Option<&[u8]>, UnpackError> {
    let rest = comment.strip_prefix(NAME.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
    let Some(rest) = rest else { return Ok(None) };
    let (version, text) = match rest.iter().position(|byte| *byte == b' ') {
        // A space is followed by something.
        Some(space) if space + 1 < rest.len() => (&rest[..space], &rest[space + 1..]),
        Some(_) => return Ok(None),
        None => (rest, &[][..]),
    };
    match version {
        version if version == VERSION.as_bytes() => Ok(Some(text)),
        version if pax::number(version).is_some_and(|version| version > 0) => {
            Err(UnpackError::Unsupported(format!(
                "a newer version of `ci` has sealed it (version {} of the seal), update `ci` to read it",
                version.escape_ascii()
            )))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::BLOCK;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let trailer = Trailer { digest: TreeDigest([7; 32]), entries: 3, bytes: u64::MAX };
        let seal = Seal { trailer, headers: [9; 32] };
        let block = seal.to_comment();
        assert_eq!(block.len(), 2 * BLOCK);
        let records: Vec<_> = pax::records(&block[BLOCK..]).flatten().collect();
        assert_eq!((records.len(), records[0].0), (1, &b"comment"[..]));
        assert_eq!(Seal::of(records[0].1).unwrap(), Some(seal));
        assert_eq!(Announced::of(records[0].1).unwrap(), None);
        assert!(is_seal(records[0].1));
        for (comment, with_trailer) in [("ci-seal 1", false), ("ci-seal 1 trailer", true)] {
            let announced = Announced::of(comment.as_bytes()).unwrap();
            assert_eq!(announced, Some(Announced { with_trailer }));
            assert_eq!(Seal::of(comment.as_bytes()).unwrap(), None);
            assert!(!is_seal(comment.as_bytes()));
        }
        for comment in ["", "ci-seal", "ci-seal 1 ", "ci-seal 1x", "ci-seal one", "a comment"] {
            assert_eq!(Announced::of(comment.as_bytes()).unwrap(), None, "{comment}");
        }
    }

    #[test]
    fn a_newer_seal_is_not_taken_for_damage() {
        for comment in ["ci-seal 2", "ci-seal 10 trailer", "ci-seal 2 x y z"] {
            let announced = Announced::of(comment.as_bytes()).map(drop).unwrap_err();
            let sealed = Seal::of(comment.as_bytes()).map(drop).unwrap_err();
            for error in [announced, sealed] {
                assert!(!error.is_of_archive());
                assert!(error.to_string().contains("update `ci`"), "{error}");
            }
        }
    }
}
