//! The address of a repository, without the credentials in it.

use crate::error::{ResourceError, printable};

/// Where a repository is.
pub struct Uri {
    /// For git's command line: without user and password if it is HTTP.
    pub plain: String,
    /// Of an HTTP address, decoded.
    pub username: Option<String>,
    pub password: Option<String>,
}

impl Uri {
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ResourceError::failed("`source.uri` is missing or empty"));
        }
        if text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(ResourceError::failed(format!(
                "`source.uri` is `{}`, which is no address of a repository",
                printable(&spec::masked(text))
            )));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self { plain: text.to_owned(), username: None, password: None });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let Some((user, host)) = authority.rsplit_once('@') else {
            return Ok(Self { plain: text.to_owned(), username: None, password: None });
        };
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        };
        if !is_http(scheme) {
            if password.is_some() {
                return Err(ResourceError::failed(format!(
                    "`source.uri` has a password, which {scheme} takes none of: remove it, and set `private_key` for ssh"
                )));
            }
            return Ok(Self { plain: text.to_owned(), username: None, password: None });
        }
        let decoded = |text: &str| {
            spec::percent_decoded(text).filter(|text| !text.contains(['\n', '\0'])).ok_or_else(
                || {
                    ResourceError::failed(
                        "the user or password in `source.uri` is not percent-encoded UTF-8",
                    )
                },
            )
        };
        Ok(Self {
            plain: format!("{scheme}://{host}{path}"),
            username: Some(decoded(name)?),
            password: password.map(decoded).transpose()?,
        })
    }

    /// `https://host:port` of an HTTP address.
    pub fn origin(&self) -> Option<&str> {
        let (scheme, rest) = self.plain.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        is_http(scheme).then(|| &self.plain[..scheme.len() + 3 + end])
    }
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_http_addresses_alone() {
        let uri = Uri::parse(" https://me:p%40ss@example.com:8443/a@b.git").unwrap();
        assert_eq!(uri.plain, "https://example.com:8443/a@b.git");
        assert_eq!(uri.username.as_deref(), Some("me"));
        assert_eq!(uri.password.as_deref(), Some("p@ss"));
        assert_eq!(uri.origin(), Some("https://example.com:8443"));
        for text in ["git@example.com:a/b.git", "ssh://git@example.com/a.git", "/a/b", "file:///a"]
        {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.plain.as_str(), uri.origin()), (text, None));
        }
    }

    #[test]
    fn what_git_could_take_for_an_option_is_refused() {
        for text in ["--upload-pack=touch x", "-x", "https://a/\nb", "ssh://a:b@c/d", "", " "] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }
}
