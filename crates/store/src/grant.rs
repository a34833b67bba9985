//! Access to one object of a store, as a value.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::CacheKey;

/// How to read one object, or to upload its parts. It is as secret as a password until it expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub key: CacheKey,
    /// Where the requests go, for errors.
    pub bucket: String,
    pub endpoint: Option<String>,
    pub allows: Allowed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Any range of the object.
    Read(PresignedUrl),
    /// One URL for each part, the first one for part 1.
    Write(Vec<PresignedUrl>),
}

/// A request that was signed without its body. The signature in it shows in no output.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PresignedUrl {
    pub url: String,
    /// Headers that were signed too.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.split('?').next().unwrap_or_default())?;
        f.write_str("?***")
    }
}
