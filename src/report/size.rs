//! Sizes as people write them.

use bytesize::ByteSize;

/// `12.3 MiB`.
pub fn human_size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}
