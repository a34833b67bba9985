//! The source of the type, read.

use crate::error::{ResourceError, printable};
use crate::values::Object;

use super::config::Variable;
use super::refs::valid_branch;
use super::uri::Uri;

/// What `source` says.
pub struct Source {
    pub uri: Uri,
    pub branch: Option<String>,
    pub ssh: Ssh,
    pub username: Option<String>,
    pub password: Option<String>,
    pub paths: Vec<String>,
    pub ignore_paths: Vec<String>,
    pub sparse_paths: Vec<String>,
    pub skip_ssl_verification: bool,
    pub tags: Option<TagFilter>,
    pub tag_ancestors: bool,
    pub fetch_tags: Option<bool>,
    pub submodules: Vec<SubmoduleCredentials>,
    pub git_config: Vec<Variable>,
    pub disable_ci_skip: bool,
    pub verification: Verification,
    pub git_crypt_key: Option<String>,
    pub include: MessageFilter,
    pub exclude: MessageFilter,
    pub version_depth: usize,
    pub search_remote_refs: bool,
}

/// How ssh is to connect.
#[derive(Clone, Default)]
pub struct Ssh {
    pub key: Option<PrivateKey>,
    pub user: Option<String>,
    pub forward_agent: bool,
    pub tunnel: Option<Tunnel>,
}

#[derive(Clone)]
pub struct PrivateKey {
    pub key: String,
    pub passphrase: Option<String>,
}

#[derive(Clone)]
pub struct Tunnel {
    pub host: String,
    pub port: u16,
    pub login: Option<(String, String)>,
}

pub enum TagFilter {
    Glob(String),
    Regex(String),
}

pub enum SubmoduleCredentials {
    Http { host: String, username: String, password: String },
    Ssh { url: String, key: PrivateKey },
}

pub struct Verification {
    pub keys: Vec<String>,
    pub ids: Vec<String>,
    pub keyserver: String,
}

/// Regular expressions for the messages of commits.
pub struct MessageFilter {
    pub patterns: Vec<String>,
    pub all_match: bool,
}

impl Source {
    pub fn parse(source: &Object<'_>) -> Result<Self, ResourceError> {
        let branch = source.text("branch")?.map(|branch| branch.trim().to_owned());
        let branch = branch.map(|branch| valid_branch("source.branch", branch)).transpose()?;
        let filter = source.object("commit_filter")?;
        filter.only(&["include", "include_all_match", "exclude", "exclude_all_match"])?;
        let messages = |list: &str, all: &str| {
            Ok(MessageFilter { patterns: one_line(&filter, list)?, all_match: filter.flag(all)? })
        };
        let version_depth = source.number("version_depth")?.unwrap_or(1);
        if version_depth == 0 {
            return Err(ResourceError::failed(
                "`source.version_depth` is 0, which gives no version: set 1 or more",
            ));
        }
        Self {
            uri: Uri::parse(&source.text("uri")?.unwrap_or_default())?,
            branch,
            ssh: ssh(source)?,
            username: login(source, "username")?,
            password: login(source, "password")?,
            paths: one_line(source, "paths")?,
            ignore_paths: one_line(source, "ignore_paths")?,
            sparse_paths: one_line(source, "sparse_paths")?,
            skip_ssl_verification: source.flag("skip_ssl_verification")?,
            tags: tag_filter(source)?,
            tag_ancestors: tag_ancestors(source)?,
            fetch_tags: source.optional_flag("fetch_tags")?,
            submodules: submodules(source)?,
            git_config: git_config(source)?,
            disable_ci_skip: source.flag("disable_ci_skip")?,
            verification: verification(source)?,
            git_crypt_key: source.text("git_crypt_key")?,
            include: messages("include", "include_all_match")?,
            exclude: messages("exclude", "exclude_all_match")?,
            version_depth: usize::try_from(version_depth).unwrap_or(usize::MAX),
            search_remote_refs: source.flag("search_remote_refs")?,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, ResourceError> {
        if self.password.is_some() && self.username.is_none() && self.uri.username.is_none() {
            return Err(ResourceError::failed(
                "`source.password` needs `username`; for a token most hosts take any name, such as `git`",
            ));
        }
        if self.username.is_some() && self.uri.origin().is_none() {
            return Err(ResourceError::failed(
                "`source.username` is for addresses with `http://` or `https://`; set `private_key_user` for ssh",
            ));
        }
        Ok(self)
    }

    /// Whether only commits are versions that change certain files.
    pub fn has_paths(&self) -> bool {
        !self.pathspecs().is_empty()
    }

    /// `paths` and `ignore_paths` as git's arguments.
    pub fn pathspecs(&self) -> Vec<String> {
        let is_all = self.paths.is_empty() || self.paths == ["."];
        if is_all && self.ignore_paths.is_empty() {
            return Vec::new();
        }
        let wanted = if is_all { vec![".".to_owned()] } else { self.paths.clone() };
        let ignored = self.ignore_paths.iter().map(|path| format!(":!{path}"));
        wanted.into_iter().chain(ignored).collect()
    }

    /// Whether each commit is a version.
    pub fn takes_all_commits(&self) -> bool {
        self.disable_ci_skip
            && !self.has_paths()
            && self.include.patterns.is_empty()
            && self.exclude.patterns.is_empty()
    }
}

/// User names and passwords are lines of git's protocol for credentials.
fn login(source: &Object<'_>, name: &str) -> Result<Option<String>, ResourceError> {
    let text = source.text(name)?;
    match text {
        Some(text) if text.contains(['\n', '\r', '\0']) => Err(source.wrong(name, "one line")),
        text => Ok(text),
    }
}

fn one_line(source: &Object<'_>, name: &str) -> Result<Vec<String>, ResourceError> {
    let list = source.list(name)?;
    let is_wrong = |text: &String| text.is_empty() || text.contains(['\n', '\0']);
    match list.iter().find(|text| is_wrong(text)) {
        Some(text) => Err(ResourceError::failed(format!(
            "`{name}` has `{}`, which is empty or has a line break",
            printable(text)
        ))),
        None => Ok(list),
    }
}

fn key(object: &Object<'_>) -> Result<Option<PrivateKey>, ResourceError> {
    let passphrase = login(object, "private_key_passphrase")?;
    let key = object.text("private_key")?;
    if key.is_none() && passphrase.is_some() {
        return Err(ResourceError::failed("`private_key_passphrase` needs `private_key`"));
    }
    Ok(key.map(|key| PrivateKey { key, passphrase }))
}

fn ssh(source: &Object<'_>) -> Result<Ssh, ResourceError> {
    let word = |name: &str, text: Option<String>, extra: &[u8]| match text {
        Some(text)
            if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte)) =>
        {
            Err(ResourceError::failed(format!(
                "`{name}` is `{}`, which has unusual characters",
                printable(&text)
            )))
        }
        text => Ok(text),
    };
    let tunnel = source.object("https_tunnel")?;
    tunnel.only(&["proxy_host", "proxy_port", "proxy_user", "proxy_password"])?;
    let tunnel = if tunnel.is_empty() {
        None
    } else {
        let host = word("proxy_host", Some(tunnel.required("proxy_host")?), b".-_:[]")?
            .unwrap_or_default();
        let port = tunnel.number("proxy_port")?.and_then(|port| u16::try_from(port).ok());
        let user = login(&tunnel, "proxy_user")?;
        let password = login(&tunnel, "proxy_password")?.unwrap_or_default();
        Some(Tunnel {
            host,
            port: port
                .filter(|port| *port > 0)
                .ok_or_else(|| tunnel.wrong("proxy_port", "a port"))?,
            login: user.map(|user| (user, password)),
        })
    };
    Ok(Ssh {
        key: key(source)?,
        user: word("source.private_key_user", source.text("private_key_user")?, b".-_@+")?,
        forward_agent: source.flag("forward_agent")?,
        tunnel,
    })
}

fn tag_filter(source: &Object<'_>) -> Result<Option<TagFilter>, ResourceError> {
    let (glob, regex) = (source.text("tag_filter")?, source.text("tag_regex")?);
    let is_wrong =
        |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(['\n', '\0']));
    if is_wrong(&glob) || is_wrong(&regex) {
        return Err(ResourceError::failed("`tag_filter` or `tag_regex` has a line break"));
    }
    match (glob, regex) {
        (Some(_), Some(_)) => Err(ResourceError::failed(
            "`source` has both `tag_filter` and `tag_regex`, keep one of them",
        )),
        (Some(glob), None) => Ok(Some(TagFilter::Glob(glob.trim().to_owned()))),
        (None, Some(regex)) => Ok(Some(TagFilter::Regex(regex.trim().to_owned()))),
        (None, None) => Ok(None),
    }
}

fn tag_ancestors(source: &Object<'_>) -> Result<bool, ResourceError> {
    match source.text("tag_behaviour")?.as_deref() {
        None | Some("match_tagged") => Ok(false),
        Some("match_tag_ancestors") => Ok(true),
        Some(_) => Err(source.wrong("tag_behaviour", "`match_tagged` or `match_tag_ancestors`")),
    }
}

fn submodules(source: &Object<'_>) -> Result<Vec<SubmoduleCredentials>, ResourceError> {
    let mut all = Vec::new();
    for item in source.objects("submodule_credentials")? {
        item.only(&[
            "host",
            "username",
            "password",
            "url",
            "private_key",
            "private_key_passphrase",
        ])?;
        let credentials = match (item.text("host")?, item.text("url")?) {
            (Some(host), None) => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
                if !host.bytes().all(allowed) {
                    return Err(item.wrong("host", "a host without scheme and path"));
                }
                let username = login(&item, "username")?.unwrap_or_default();
                let password = login(&item, "password")?.unwrap_or_default();
                if username.is_empty() || password.is_empty() {
                    return Err(item.wrong("host", "accompanied by `username` and `password`"));
                }
                SubmoduleCredentials::Http { host, username, password }
            }
            (None, Some(url)) => {
                let key =
                    key(&item)?.ok_or_else(|| item.wrong("url", "accompanied by `private_key`"))?;
                SubmoduleCredentials::Ssh { url, key }
            }
            _ => {
                return Err(ResourceError::failed(
                    "an item of `submodule_credentials` has to have either `host` or `url`",
                ));
            }
        };
        all.push(credentials);
    }
    Ok(all)
}

fn git_config(source: &Object<'_>) -> Result<Vec<Variable>, ResourceError> {
    let mut variables = Vec::new();
    for item in source.objects("git_config")? {
        item.only(&["name", "value"])?;
        let value = item.text("value")?.unwrap_or_default();
        variables.push(Variable::parse(item.required("name")?, value)?);
    }
    Ok(variables)
}

fn verification(source: &Object<'_>) -> Result<Verification, ResourceError> {
    let ids = source.list("commit_verification_key_ids")?;
    let is_id = |id: &&String| {
        let digits = id.strip_prefix("0x").unwrap_or(id);
        (8..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if let Some(id) = ids.iter().find(|id| !is_id(id)) {
        return Err(ResourceError::failed(format!(
            "`commit_verification_key_ids` has `{}`, which is no identity of a key: 8 to 64 hexadecimal digits",
            printable(id)
        )));
    }
    let keyserver = source.text("gpg_keyserver")?;
    let keyserver = keyserver.unwrap_or_else(|| "hkp://keyserver.ubuntu.com/".to_owned());
    if keyserver.starts_with('-')
        || keyserver.chars().any(|letter| letter.is_control() || letter == ' ')
    {
        return Err(source.wrong("gpg_keyserver", "an address"));
    }
    Ok(Verification { keys: source.list("commit_verification_keys")?, ids, keyserver })
}
