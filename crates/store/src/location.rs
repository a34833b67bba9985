//! Which store a URL names.

use std::fmt;
use std::path::PathBuf;

use spec::{masked, percent_decoded};

use crate::config_error::CacheConfigError;
use crate::key::KeyPrefix;

/// Which store, and where in it.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreLocation {
    S3(S3Location),
    /// The root of a store in this machine's file system.
    Directory(PathBuf),
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Location {
    pub bucket: String,
    /// The part of the URL after the bucket.
    pub prefix: KeyPrefix,
    /// `None`: as the AWS SDK's environment and profiles say.
    pub region: Option<String>,
    /// `http://host:port` or `https://host`, addressed with the bucket in the path; `None` is AWS.
    pub endpoint: Option<String>,
    /// `None`: what the AWS SDK's default chain finds.
    pub credentials: Option<StaticCredentials>,
}

/// Credentials that stand in the URL. They show in no output.
#[derive(Clone, PartialEq)]
pub struct StaticCredentials {
    pub key: String,
    pub secret: String,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const S3_FORMS: &str =
    "`s3://bucket/prefix` or `s3://[http://|https://][KEY:SECRET@]host[:port]/bucket/prefix`";

impl StoreLocation {
    pub fn prefix(&self) -> &KeyPrefix {
        const NONE: &KeyPrefix = &KeyPrefix::EMPTY;
        match self {
            Self::S3(location) => &location.prefix,
            Self::Directory(_) => NONE,
        }
    }

    /// Reads a store's URL; `query` is what follows its `?`.
    ///
    /// Of `s3://A/B`, `A` is a host and the first part of `B` the bucket exactly if a scheme
    /// precedes it, or if it has credentials or a port; else `A` is the bucket, dots or not. A host
    /// without a scheme is reached by https, one that is `localhost` or a loopback address by http.
    pub(crate) fn parse(url: &str, query: &str) -> Result<Self, CacheConfigError> {
        if let Some(path) = url.strip_prefix("file://") {
            let path = decoded(path, url)?;
            if !path.starts_with('/') || path.contains('\0') {
                return Err(invalid(url, "`file:///absolute/path`"));
            }
            return Ok(Self::Directory(path.into()));
        }
        let Some(rest) = url.strip_prefix("s3://") else {
            return Err(invalid(url, &format!("{S3_FORMS} or `file:///path`")));
        };
        s3(rest, query, url).map(Self::S3)
    }
}

fn s3(rest: &str, query: &str, url: &str) -> Result<S3Location, CacheConfigError> {
    let (scheme, rest) = match rest.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
        _ => (None, rest),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(static_credentials(user, url)?), host),
        None => (None, authority),
    };
    if scheme.is_none() && credentials.is_none() && !host.contains(':') {
        return location(host, path, None, None, url);
    }
    // An `@` further on means that the secret has a character that ended the authority; then
    // nothing here is what it seems, and no part of it may be shown.
    let unencoded = path.contains('@') || query.contains('@');
    if unencoded || !is_authority(host) {
        return Err(invalid(
            &format!("{url}?{query}"),
            &format!("{S3_FORMS}, with `/`, `@` and `?` in the secret as `%2F`, `%40` and `%3F`"),
        ));
    }
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let scheme = scheme.unwrap_or(if is_loopback(host) { "http" } else { "https" });
    location(bucket, prefix, Some(format!("{scheme}://{host}")), credentials, url)
}

fn location(
    bucket: &str,
    prefix: &str,
    endpoint: Option<String>,
    credentials: Option<StaticCredentials>,
    url: &str,
) -> Result<S3Location, CacheConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
        return Err(invalid(
            url,
            &format!("a bucket of 3 to 63 letters, digits, `.`, `-` or `_`, as in {S3_FORMS}"),
        ));
    }
    let prefix = decoded(prefix, url)?;
    let prefix = prefix.parse().map_err(|source| CacheConfigError::prefix("cache", source))?;
    Ok(S3Location { bucket: bucket.into(), prefix, region: None, endpoint, credentials })
}

fn static_credentials(user: &str, url: &str) -> Result<StaticCredentials, CacheConfigError> {
    let (key, secret) = user.split_once(':').unwrap_or((user, ""));
    let (key, secret) = (decoded(key, url)?, decoded(secret, url)?);
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible(&key) || !visible(&secret) {
        return Err(invalid(url, "`KEY:SECRET` before the `@`"));
    }
    Ok(StaticCredentials { key, secret })
}

/// Whether `endpoint` is what a host is in [`StoreLocation::parse`], with its scheme.
pub(crate) fn is_endpoint(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    host.is_some_and(|host| is_authority(host.strip_suffix('/').unwrap_or(host)))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let name = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name(host),
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    host && port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(crate) fn decoded(text: &str, url: &str) -> Result<String, CacheConfigError> {
    percent_decoded(text).ok_or_else(|| CacheConfigError::Encoding(masked(url)))
}

fn invalid(url: &str, expected: &str) -> CacheConfigError {
    CacheConfigError::Value { key: "cache", value: masked(url), expected: expected.into() }
}
