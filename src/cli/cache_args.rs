//! Where volumes are cached, as options of the command line.
//!
//! A DSN says the same with `cache=` and `cache_…=`. Both parsers are one: an option is a setting by its key.

use std::ffi::OsString;
use std::path::Path;

use bytesize::ByteSize;
use clap::Args;
use diagnostic::Diagnostic;

use super::Failure;
use crate::volume::{DEFAULT_SIZE, LocalStore};
use spec::masked;
use store::{CacheConfig, CacheConfigError};

const OPTION: &str = "--cache";
const VARIABLE: &str = "CI_CACHE";
const HEADING: &str = "Cache";

/// What `--cache` without an address is.
const LOCAL: &str = "local";

#[derive(Args)]
pub struct CacheArgs {
    /// Keep volumes that have a name for the next run: in the user's cache directory, or in a store such as
    /// `s3://bucket/prefix?region=eu-west-1` or `file:///var/cache/volumes`. Without the option, `CI_CACHE` says
    /// it: an address, `local` or `off`
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = LOCAL,
        help_heading = HEADING
    )]
    cache: Option<String>,

    /// Use no cache, whatever `CI_CACHE` and `--driver` say
    #[arg(long, conflicts_with = "cache", help_heading = HEADING)]
    no_cache: bool,

    /// Fail the run with exit code 3 when the cache does not work
    #[arg(long, help_heading = HEADING)]
    pub cache_strict: bool,

    /// How large the cache of all projects in the user's cache directory may be, 20 GiB by default; what was not
    /// used for longest is removed first
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = HEADING)]
    cache_size: Option<ByteSize>,

    /// What the keys of archives begin with, such as a branch
    #[arg(long, value_name = "PREFIX", help_heading = HEADING)]
    cache_prefix: Option<String>,

    /// Another prefix to restore from when there is nothing under `--cache-prefix`; up to five
    #[arg(long, value_name = "PREFIX", help_heading = HEADING)]
    cache_fallback: Vec<String>,

    /// How old an archive may be, such as `7d`; an older one is not restored
    #[arg(long, value_name = "DURATION", help_heading = HEADING)]
    cache_ttl: Option<String>,

    /// Whether volumes are restored and persisted: `pull-push` (the default), `pull`, `push` or `none`
    #[arg(long, value_name = "POLICY", help_heading = HEADING)]
    cache_policy: Option<String>,

    /// After which end of a pipeline volumes are persisted: `success` (the default), `failure` or `always`
    #[arg(long, value_name = "END", help_heading = HEADING)]
    cache_when: Option<String>,

    /// How archives are compressed: `zstd` (the default), `gzip` or `none`
    #[arg(long, value_name = "FORMAT", help_heading = HEADING)]
    cache_compression: Option<String>,

    /// The most time that one restore or persist may take, 30m by default
    #[arg(long, value_name = "DURATION", help_heading = HEADING)]
    cache_budget: Option<String>,

    /// How long a transfer may stand still, 30s by default
    #[arg(long, value_name = "DURATION", help_heading = HEADING)]
    cache_stall: Option<String>,

    /// How many entries an archive may unpack to
    #[arg(long, value_name = "N", help_heading = HEADING)]
    cache_max_entries: Option<String>,

    /// How many bytes an archive may unpack to, such as `100GiB`
    #[arg(long, value_name = "SIZE", help_heading = HEADING)]
    cache_max_size: Option<String>,

    /// How many times its own size an archive may unpack to
    #[arg(long, value_name = "N", help_heading = HEADING)]
    cache_max_ratio: Option<String>,

    /// What becomes of symbolic links that lead out of a volume: `refuse` (the default) or `keep`
    #[arg(long, value_name = "RULE", help_heading = HEADING)]
    cache_outside_links: Option<String>,

    /// What becomes of setuid and setgid bits and of capabilities: `drop` (the default) or `keep`
    #[arg(long, value_name = "RULE", help_heading = HEADING)]
    cache_setuid: Option<String>,
}

/// Where the volumes of a run are cached.
#[derive(Default)]
pub struct Chosen {
    pub config: Option<CacheConfig>,
    /// If that is the user's own store.
    pub local: Option<LocalStore>,
}

/// What somebody wants to have.
pub enum Wanted {
    Off,
    Local,
    At(String),
}

/// Where they said it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Option,
    Variable,
}

/// An option that is a setting of a DSN too.
struct Setting {
    key: &'static str,
    option: &'static str,
    value: String,
}

impl CacheArgs {
    /// Where volumes are cached. `of_dsn` is what the driver's DSN says, `root` is the project's.
    pub fn choose(&self, of_dsn: Option<CacheConfig>, root: &Path) -> Result<Chosen, Failure> {
        if self.no_cache {
            return Ok(Chosen::default());
        }
        let wanted = wanted(self.cache.as_deref())?;
        let settings = self.settings();
        let first = settings.first().map(|setting| setting.option);
        let first = first.or(self.cache_size.map(|_| "--cache-size"));
        let (wanted, way) = match (wanted, of_dsn) {
            (Some((Wanted::Off, Way::Option)), _) => return Ok(Chosen::default()),
            (Some((Wanted::Off, Way::Variable)), config @ Some(_)) => {
                return Ok(Chosen { config, local: None });
            }
            (Some((_, way)), Some(_)) => return Err(both(way)),
            (Some((wanted, way)), None) => (wanted, way),
            (None, of_dsn) => match (first, of_dsn) {
                (None, config) => return Ok(Chosen { config, local: None }),
                (Some(option), None) => {
                    let message = format!("`{option}` is given without a cache");
                    return Err(wrong(message, "add `--cache`, or set `CI_CACHE`"));
                }
                (Some(option), Some(_)) => {
                    let message =
                        format!("`{option}` goes with `--cache`, and the DSN has `cache=`");
                    let help = "write the setting into the DSN, as in `cache_prefix=main`, or the address \
                                behind `--cache`";
                    return Err(wrong(message, help));
                }
            },
        };
        match wanted {
            Wanted::Off => Ok(Chosen::default()),
            Wanted::Local => {
                let size = self.cache_size.unwrap_or(DEFAULT_SIZE);
                let local = LocalStore::new(root, size.as_u64());
                let pairs: Vec<(&str, String)> =
                    settings.iter().map(|it| (it.key, it.value.clone())).collect();
                let config = CacheConfig::in_directory(local.directory(), &pairs);
                let config = config.map_err(|error| explain(error, &settings, way))?;
                Ok(Chosen { config: Some(config), local: Some(local) })
            }
            Wanted::At(_) if self.cache_size.is_some() => {
                let message = "`--cache-size` is for the cache in the user's cache directory";
                let help = "leave it out, or the address of the other store";
                Err(wrong(message.to_owned(), help))
            }
            Wanted::At(url) => {
                let mut pairs = vec![("cache".to_owned(), url)];
                // Of a DSN, these are percent-encoded.
                let encoded = |value: &str| value.replace('%', "%25");
                pairs.extend(settings.iter().map(|it| (it.key.to_owned(), encoded(&it.value))));
                let config = CacheConfig::from_settings(&pairs);
                let config = config.map_err(|error| explain(error, &settings, way))?;
                Ok(Chosen { config, local: None })
            }
        }
    }

    /// Those that are given.
    fn settings(&self) -> Vec<Setting> {
        let fallback = match self.cache_fallback.as_slice() {
            [] => None,
            prefixes => Some(prefixes.join(",")),
        };
        let table = [
            ("cache_prefix", "--cache-prefix", &self.cache_prefix),
            ("cache_fallback", "--cache-fallback", &fallback),
            ("ttl", "--cache-ttl", &self.cache_ttl),
            ("cache_policy", "--cache-policy", &self.cache_policy),
            ("cache_when", "--cache-when", &self.cache_when),
            ("cache_compression", "--cache-compression", &self.cache_compression),
            ("cache_budget", "--cache-budget", &self.cache_budget),
            ("cache_stall", "--cache-stall", &self.cache_stall),
            ("cache_max_entries", "--cache-max-entries", &self.cache_max_entries),
            ("cache_max_size", "--cache-max-size", &self.cache_max_size),
            ("cache_max_ratio", "--cache-max-ratio", &self.cache_max_ratio),
            ("cache_outside_links", "--cache-outside-links", &self.cache_outside_links),
            ("cache_setuid", "--cache-setuid", &self.cache_setuid),
        ];
        let given = table.into_iter().filter_map(|(key, option, value)| {
            Some(Setting { key, option, value: value.clone()? })
        });
        given.collect()
    }
}

/// What `--cache` says, or else `CI_CACHE`. An empty variable is as good as none.
pub fn wanted(option: Option<&str>) -> Result<Option<(Wanted, Way)>, Failure> {
    if let Some(text) = option {
        let wanted = parse(text).ok_or_else(|| unknown(text, Way::Option))?;
        return Ok(Some((wanted, Way::Option)));
    }
    let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    let wanted = parse(&text).ok_or_else(|| unknown(&text, Way::Variable))?;
    Ok(Some((wanted, Way::Variable)))
}

fn parse(text: &str) -> Option<Wanted> {
    match text.to_ascii_lowercase().as_str() {
        LOCAL | "1" | "true" | "yes" | "on" => Some(Wanted::Local),
        "off" | "0" | "false" | "no" => Some(Wanted::Off),
        _ => is_address(text).then(|| Wanted::At(text.to_owned())),
    }
}

/// Whether a text is the address of a store, be it of one that there is not. A whole DSN's `cache=` may be
/// percent-encoded.
fn is_address(text: &str) -> bool {
    text.contains("://") || text.to_ascii_lowercase().contains("%3a%2f%2f")
}

/// The arguments of this process with `--cache URL` written as `--cache=URL`. An address after `--cache` is its
/// value, and anything else is the next argument: a pipeline's file has no `://` in its name.
pub fn joined(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_pipelines = false;
    for argument in arguments {
        let is_value = !is_pipelines
            && joined.last().is_some_and(|last| last == OPTION)
            && argument.to_str().is_some_and(|text| is_address(text) && !text.starts_with('-'));
        is_pipelines |= argument == "--";
        match joined.last_mut() {
            Some(last) if is_value => {
                last.push("=");
                last.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// What is wrong with a setting, by the name that it was given under.
fn explain(error: CacheConfigError, settings: &[Setting], way: Way) -> Failure {
    use CacheConfigError as Error;
    let option = |key: &str| match key {
        "cache" => Some(way.name()),
        key => settings.iter().find(|it| it.key == key).map(|it| it.option),
    };
    let message = match &error {
        Error::Value { key, value, expected } => option(key)
            .map(|option| format!("invalid value `{value}` for `{option}`, expected {expected}")),
        Error::Prefix { key, source } => {
            option(key).map(|option| format!("invalid prefix for `{option}`: {source}"))
        }
        Error::Repeated { key } => option(key).map(|option| {
            format!("`{option}` is given, and `{key}` in the address of the cache, keep one")
        }),
        _ => None,
    };
    let message = message.unwrap_or_else(|| format!("invalid `{}`: {error}", way.name()));
    Failure::invalid(Box::new(Diagnostic::new(message)))
}

/// Two places say where the cache is, the other one being a DSN.
pub fn both(way: Way) -> Failure {
    let help = match way {
        Way::Option => "keep one of them",
        Way::Variable => "unset `CI_CACHE`, or take `cache=` out of the DSN",
    };
    both_of(way, "`cache=` in the driver's DSN", help)
}

pub fn both_of(way: Way, other: &str, help: &str) -> Failure {
    wrong(format!("both `{}` and {other} say where the cache is", way.name()), help)
}

fn unknown(text: &str, way: Way) -> Failure {
    let (name, text) = (way.name(), masked(text));
    wrong(
        format!(
            "invalid value `{text}` for `{name}`, expected `s3://bucket/prefix`, `file:///path`, \
             `local` or `off`"
        ),
        "without an address, the cache is in the user's cache directory",
    )
}

fn wrong(message: String, help: &str) -> Failure {
    Failure::invalid(Box::new(Diagnostic::new(message).help(help)))
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Option => OPTION,
            Self::Variable => VARIABLE,
        }
    }
}

/// A size above zero.
pub fn size(text: &str) -> Result<ByteSize, String> {
    let size = text.parse::<ByteSize>().ok().filter(|size| size.as_u64() > 0);
    size.ok_or_else(|| "expected a size above 0 such as `20GiB` or `500MB`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_value_and_a_file_is_none() {
        let table = [
            ("ci run --cache p.ts", "ci run --cache p.ts"),
            ("ci run --cache s3://b p.ts", "ci run --cache=s3://b p.ts"),
            ("ci run p.ts --cache file:///x", "ci run p.ts --cache=file:///x"),
            ("ci run --cache=s3://b p.ts", "ci run --cache=s3://b p.ts"),
            ("ci run --cache s3%3A%2F%2Fb p.ts", "ci run --cache=s3%3A%2F%2Fb p.ts"),
            ("ci run p.ts --cache", "ci run p.ts --cache"),
            ("ci run --cache --driver=a://?b p.ts", "ci run --cache --driver=a://?b p.ts"),
            ("ci run p.ts -- --cache s3://b", "ci run p.ts -- --cache s3://b"),
            ("ci run p.ts --cache -- s3://b", "ci run p.ts --cache -- s3://b"),
        ];
        for (given, expected) in table {
            let arguments = joined(given.split(' ').map(OsString::from));
            let arguments: Vec<&str> =
                arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
            assert_eq!(arguments.join(" "), expected);
        }
    }
}
