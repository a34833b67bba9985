//! Archives of volumes: a directory tree in one stream, and back.
//!
//! An archive is a deterministic tar in the PAX format of POSIX.1-2001: the same tree gives the same
//! bytes. Modes, times to the nanosecond, symbolic and hard links, sparse files, extended attributes
//! and, as root, owners are kept. Any tar reads it.
//!
//! The first header has nothing but a comment that announces the [seal](seal). The seal is the comment of
//! another one, behind the two blocks of zeros that end the tar: the digest of the tree, the number of its
//! entries, the bytes of their content, and a hash over the tar up to its end but the announcement, the
//! content of files, and what pads that. Any other header is part of the hash, wherever it stands, with its
//! data and its padding. The digest covers the content. So nothing of a sealed archive can be changed,
//! inserted or left out without being noticed, however it is compressed. Whoever knows that an archive
//! was sealed has to [say so](UnpackOptions::sealed), or one without announcement and seal passes for
//! somebody else's.
//!
//! Compressed with Zstandard it is a series of frames of [`FRAME`] bytes of content, each with its
//! checksum, that are independent of each other, so that all cores pack and unpack. In front of each but
//! the first, which holds the comment alone, stands a skippable frame with its compressed size, as pzstd
//! writes it. Behind all of them stands one with a hash of each file's content in the order of the
//! archive and the digest of the tree, which can be read without the rest. `zstd -d` passes over them.
//!
//! [`unpack`], [`validate`] and [`verify`] obey one set of [rules](layout). They trust nothing: whatever an
//! archive says, nothing outside of the root is written, and memory stays bounded. [`pack`] and [`transcode`]
//! count what those count, and make no archive that they would refuse by the same [`Limits`]. For the
//! ratio that holds if the [`Source`] knows its size.
//!
//! Formats: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>,
//! <https://www.gnu.org/software/tar/manual/html_node/Standard.html>,
//! <https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html>,
//! <https://www.rfc-editor.org/rfc/rfc8878>, and pzstd's README in the sources of Zstandard.

mod announcement;
mod budget;
mod compress;
mod compression;
mod content;
mod control;
mod copies;
mod decompress;
mod digest;
mod extents;
mod file_index;
mod frame;
mod header;
mod input;
mod kept;
mod layout;
mod member;
mod notices;
mod numeric;
mod options;
mod ordered;
mod pack;
mod packed;
mod path;
mod pax;
mod place;
mod policy;
mod pool;
mod prefetch;
mod queue;
mod records;
mod rules;
mod scan;
mod seal;
mod stat;
mod sync;
mod tally;
mod threads;
mod trailer;
mod transcode;
mod unpack;
mod validate;
mod walk;
mod worker;
mod writer;
mod xattr;

pub use announcement::{START, is_announced};
pub use budget::Budget;
pub use compression::{Compression, UnknownCompression};
pub use control::{Control, Stage, Stopped, Wake, Working};
pub use file_index::{FileIndex, TreeDigest};
pub use frame::FRAME;
pub use options::{Limits, OutsideLinks, PackOptions, Setuid, UnpackOptions};
pub use pack::{Sink, pack};
pub use packed::{PackError, Packed};
pub use scan::{Scan, scan};
pub use threads::message;
pub use trailer::Trailer;
pub use transcode::{Root, is_empty_archive, scan_archive, transcode};
pub use unpack::{Source, UnpackError, Unpacked, unpack, verify};
pub use validate::validate;
