//! Addresses of engines behind ssh.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Who is asked for an engine: `ssh://[user@]host[:port][/path/of/its/socket]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// `None` is the engine that the `docker` command over there finds.
    pub socket: Option<String>,
}

impl FromStr for Destination {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let url = Url::parse(text).map_err(|_| ())?;
        let extra = url.password().is_some() || url.query().is_some() || url.fragment().is_some();
        if url.scheme() != "ssh" || extra {
            return Err(());
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().map_err(|_| ())?.into_owned();
            if text.contains(char::is_control) { Err(()) } else { Ok(text) }
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => decoded(name)?,
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(()),
        };
        let user = decoded(url.username())?;
        let socket = decoded(url.path().trim_end_matches('/'))?;
        if host.is_empty() {
            return Err(());
        }
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self { user: some(user), host, port: url.port(), socket: some(socket) })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}
