//! The bytes of an archive: where they come from and where they go.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::flow::control::Wake;

/// Where an archive comes from.
pub trait Source: Send {
    /// The next part, of any size; `None` at the end. The end has to be the true one: an error is not
    /// an end.
    fn next(&mut self) -> io::Result<Option<Bytes>>;

    /// How many bytes all parts have together, if that is known. If it is not, the content is compared with
    /// what was read so far, which may be too little for an archive that is larger at its end.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Makes a `next` that waits in another thread return an error soon.
    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        None
    }
}

/// Where an archive goes.
pub trait Sink: Send {
    /// Takes the next part, and waits while it cannot. An error ends the packing.
    fn write(&mut self, part: Bytes) -> io::Result<()>;

    /// Makes a `write` that waits in another thread return an error soon.
    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        None
    }
}
