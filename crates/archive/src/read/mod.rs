//! From an archive to its members, which obey the rules.

pub mod content;
pub mod copies;
pub mod decompress;
pub mod input;
pub mod member;
pub mod members;
pub mod pass;
pub mod pool;
pub mod rules;
pub mod worker;
