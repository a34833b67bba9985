//! Archives of volumes: a directory tree in one stream, and back.
//!
//! An archive is a deterministic tar in the PAX format of POSIX.1-2001: the same tree gives the same
//! bytes. Modes, times to the nanosecond, symbolic and hard links, sparse files, extended attributes
//! and, as root, owners are kept. Any tar reads it.
//!
//! The first header has nothing but a comment that announces the [seal]. The seal is the comment of
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
//! [`unpack`], [`validate`] and [`verify`] obey one set of [rules]. They trust nothing: whatever an
//! archive says, nothing outside of the root is written, and memory stays bounded. [`pack`] and [`transcode`]
//! count what those count, and make no archive that they would refuse by the same [`Limits`]. For the
//! ratio that holds if the [`Source`] knows its size.
//!
//! Formats: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>,
//! <https://www.gnu.org/software/tar/manual/html_node/Standard.html>,
//! <https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html>,
//! <https://www.rfc-editor.org/rfc/rfc8878>, and pzstd's README in the sources of Zstandard.
//!
//! The modules, each above those that it uses:
//!
//! ```text
//! pack    unpack    a tree to an archive, and an archive to a tree
//!    └ read ┘       an archive to its members
//!     format        headers, records and frames as bytes
//!      tree         what a file system says, and what is known of it by digests
//!      flow         threads, queues and memory
//! ```
//!
//! [seal]: format::seal
//! [rules]: unpack::layout

mod compression;
mod error;
mod flow;
mod format;
mod hash;
mod notices;
mod options;
mod pack;
mod packed;
mod path;
mod read;
mod stream;
mod tree;
mod unpack;
mod unpacked;

pub use compression::{Compression, UnknownCompression};
pub use error::{PackError, UnpackError};
pub use flow::budget::Budget;
pub use flow::control::{Control, Stage, Stopped, Wake, Working};
pub use flow::threads::message;
pub use format::announcement::{START, is_announced};
pub use format::frame::FRAME;
pub use format::trailer::Trailer;
pub use hash::TreeDigest;
pub use options::{Limits, OutsideLinks, PackOptions, Setuid, UnpackOptions};
pub use pack::pack;
pub use pack::scan::{Scan, scan};
pub use pack::transcode::{Root, is_empty_archive, scan_archive, transcode};
pub use packed::Packed;
pub use stream::{Sink, Source};
pub use tree::file_index::FileIndex;
pub use unpack::unpack;
pub use unpack::validate::validate;
pub use unpack::verify::verify;
pub use unpacked::Unpacked;
