//! What tests of several crates use: the S3 server that the setup of the tests starts, a proxy that loses,
//! delays and falsifies, and objects in stores.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod objects;
mod proxy;
mod s3;

pub use objects::{
    behind, behind_for, content, get, key, on_each_store, open, other_program, put, put_if,
    put_with, uploads,
};
pub use proxy::{Answer, Fault, Proxy};
pub use s3::S3;

/// Of the authority that has signed the proxy's certificate.
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/ca.pem");

/// A file that is no certificate.
pub const NO_AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/README.md");
