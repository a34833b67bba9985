//! An object as S3 describes it, and as the store does.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_s3::primitives::DateTime;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::object::Metadata;

/// What the names of user metadata start with.
const METADATA: &str = "ci-";

pub fn size(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}

/// An object without a time is as old as can be.
pub fn time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

pub fn metadata(found: Option<&HashMap<String, String>>) -> Metadata {
    let pairs = found.into_iter().flatten().filter_map(|(name, value)| {
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        Some((name.strip_prefix(METADATA)?, value))
    });
    Metadata::from_pairs(pairs)
}

/// What a header of HTTP takes as it is.
const PLAIN: &AsciiSet = &CONTROLS.add(b'%');

pub fn headers(metadata: &Metadata) -> HashMap<String, String> {
    let pairs = metadata.pairs().into_iter();
    pairs
        .map(|(name, value)| {
            (format!("{METADATA}{name}"), utf8_percent_encode(&value, PLAIN).to_string())
        })
        .collect()
}
