//! The parts of an archive as bytes: headers, records, frames and what proves that it is whole.

pub mod announcement;
pub mod extents;
pub mod frame;
pub mod header;
pub mod numeric;
pub mod pax;
pub mod records;
pub mod seal;
pub mod trailer;
