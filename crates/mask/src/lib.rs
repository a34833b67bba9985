//! Hides secrets in bytes that are shown: `***` takes the place of each.
//!
//! [`SecretSet`] knows the values, [`Masker`] hides them in one stream, cut into pieces anywhere, and
//! [`SecretSet::mask`] in a whole text.
//!
//! # What is found
//!
//! Each value without the white space around it, and each of its lines of at least 8 bytes unless it is mere
//! punctuation or the first or last line of a PEM block. Both
//! - as they are,
//! - percent-encoded, in a form, an address or a part of it,
//! - escaped for JSON, XML and HTML, Rust, Go and Python,
//! - quoted for a shell, also by a shell itself: `printf %q`, `${var@Q}`, `set -x`.
//!
//! The value also in hexadecimal, and in base64, alone or in the middle of what was encoded. The character of
//! base64 at each border may be made of the secret and of its neighbour: it stays, and tells at most 4 bits.
//!
//! Upper and lower case are the same everywhere, `-` is `+`, and `_` is `/`. That makes both alphabets of base64,
//! and all ways to write a digit of an escape, one form. Line breaks are skipped: a secret is found however it is
//! wrapped, with up to 16 bytes of line breaks in a row.
//!
//! A value of more than 4 KiB is looked for in pieces: its lines, cut after
//! 512 bytes, as they are and escaped for JSON, and 512 bytes at a time of its base64 and its
//! hexadecimal form. A copy of a part is hidden but for what is shorter than a piece at both ends, and for pieces
//! of less than four different bytes, such as padding.
//!
//! # What is not found
//!
//! - Secrets of [less than 6 bytes](SecretSet::too_short).
//! - Other parts of a secret than its lines, and the encoding of a line alone in base64 or hexadecimal.
//! - What is encoded twice, compressed or reversed.
//! - A secret with something other than line breaks between its bytes: indentation, the columns of `od` and `xxd`,
//!   colours, or the quotes that coreutils' `printf %q` puts around each tab.
//!
//! # What is hidden without need
//!
//! Text that differs from a secret by nothing but case, line breaks, `-` for `+` and `_` for `/`.
//!
//! # How
//!
//! All forms are one Aho-Corasick automaton. It is our own, because it has to tell how much of a form has been seen:
//! only that is withheld from a stream. A filter finds the places where a form may begin. However the text looks, the
//! time is linear in its length.

mod filter;
mod fold;
mod forms;
mod masker;
#[cfg(test)]
mod model;
mod run;
mod scan;
mod set;
mod trie;
mod value;
mod writer;

pub use masker::Masker;
pub use set::SecretSet;
pub use value::SecretValue;
