//! `ci cache`: what is in a cache of volumes, and getting rid of it.

mod archives;
mod list;
mod prune;
mod remove;
mod stat;
mod uploads;
mod verify;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, anyhow};
use clap::{Args, Subcommand};

use futures_util::stream::{StreamExt, TryStreamExt, iter};

use self::archives::{Archive, describe_all};
use super::cache_args::{self, Wanted};
use super::{Failure, Problem};
use crate::driver::{DRIVERS, dsn};
use crate::process::{masking, state};
use crate::report::{counted, human_size};
use crate::secret;
use crate::volume::LocalStore;
use spec::masked;
use store::{CacheConfig, CacheStore, StoreError, printable};

/// Looks into a cache of volumes, or clears it.
#[derive(Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cache {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(visible_alias = "list")]
    Ls(list::List),
    Stat(stat::Stat),
    Verify(verify::Verify),
    Rm(remove::Remove),
    Prune(prune::Prune),
    Uploads(uploads::Uploads),
}

impl Cache {
    pub fn execute(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| unavailable(format!("cannot start: {error}")))?;
        let result = runtime.block_on(async {
            match self.command {
                Command::Ls(command) => command.execute().await,
                Command::Stat(command) => command.execute().await,
                Command::Verify(command) => command.execute().await,
                Command::Rm(command) => command.execute().await,
                Command::Prune(command) => command.execute().await,
                Command::Uploads(command) => command.execute().await,
            }
        });
        runtime.shutdown_background();
        result
    }
}

/// Which cache.
#[derive(Args)]
struct StoreArgs {
    /// The cache: a driver's DSN as for `ci run`, or an address such as
    /// `s3://bucket/prefix?region=eu-west-1` or `file:///var/cache/volumes`; without one, as `--cache` says
    // Neither the help nor an error of the parser may show what it holds.
    #[arg(
        long,
        visible_alias = "driver",
        value_name = "DSN|URL",
        env = "CI_DRIVER",
        hide_env_values = true
    )]
    store: Option<String>,

    /// The cache as for `ci run --cache`, which is also what `CI_CACHE` says: an address, or the archives of all
    /// projects in the user's cache directory, which is the default
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "local"
    )]
    cache: Option<String>,
}

/// A store, and what concerns it of the settings.
struct Opened {
    config: CacheConfig,
    store: Arc<dyn CacheStore>,
}

/// Whether a text names a driver, or looks like a DSN of one that this binary does not have.
fn may_be_dsn(text: &str) -> bool {
    text.contains(':') || DRIVERS.iter().any(|driver| driver.name == text)
}

impl StoreArgs {
    fn open(&self) -> Result<Opened, Failure> {
        let text = self.store.as_deref().unwrap_or_default();
        let is_url = ["s3://", "file://"].iter().any(|scheme| text.starts_with(scheme));
        let config = match is_url {
            true => CacheConfig::from_url(text).map(Some).map_err(|error| error.to_string()),
            false if !text.is_empty() && !may_be_dsn(text) => Err(format!(
                "expected `s3://bucket/prefix`, `file:///path` or a DSN, got `{}`",
                masked(text)
            )),
            false => dsn::cache_of(text).map_err(|error| error.to_string()),
        };
        let named = config.map_err(|error| wrong(format!("invalid `--store`: {error}")))?;
        let wanted = match is_url && self.cache.is_none() {
            // An address can only be meant for this command.
            true => None,
            false => cache_args::wanted(self.cache.as_deref())?,
        };
        let config = match (named, wanted) {
            (Some(_), Some((_, way))) if is_url => {
                return Err(cache_args::both_of(way, "`--store`", "keep one of them"));
            }
            (Some(_), Some((_, way))) => return Err(cache_args::both(way)),
            (Some(config), None) => config,
            (None, Some((Wanted::At(url), way))) => CacheConfig::from_url(&url)
                .map_err(|error| wrong(format!("invalid `{}`: {error}", way.name())))?,
            (None, Some((Wanted::Local | Wanted::Off, _)) | None) => local()?,
        };
        masking::add(secret::of_store(&config));
        let store = store::open_with(&config, PATIENCE, state::directory());
        Ok(Opened { config, store })
    }
}

/// The user's own store, with the archives of all projects.
fn local() -> Result<CacheConfig, Failure> {
    let all = LocalStore::of_all_projects();
    // There is no difference between a store that nobody has used and an empty one.
    LocalStore::prepare(&all).map_err(failed)?;
    CacheConfig::in_directory(all, &[]).map_err(|error| wrong(error.to_string()))
}

/// How long a request is sent again that a store does not answer, or not well. Somebody waits for the
/// command.
const PATIENCE: Duration = Duration::from_secs(60);

/// How archives or uploads are removed.
#[derive(Args)]
struct RemovalArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How many objects are looked at at the same time.
const AT_ONCE: usize = 16;

impl Opened {
    /// All archives of the cache. With `cache_prefix`, those of that prefix and of none below it: they
    /// belong to somebody else.
    async fn archives(&self) -> Result<Vec<Archive>, Failure> {
        let prefix = self.config.key_prefix().map_err(|error| wrong(error.to_string()))?;
        let mut found = self.store.list(&prefix).await.map_err(failed)?;
        if !self.config.prefix.is_empty() {
            found.retain(|info| prefix.below(&info.key).is_some_and(|name| !name.contains('/')));
        }
        Ok(found.into_iter().map(|info| Archive::new(info, &prefix)).collect())
    }

    /// The archives of these names: a volume's name, or a key as `ls` shows it.
    async fn named(&self, names: &[String]) -> Result<Vec<Archive>, Failure> {
        let archives = self.archives().await?;
        let mut found = vec![false; archives.len()];
        for name in names {
            let mut are_called: Vec<bool> =
                archives.iter().map(|archive| archive.is_called(name)).collect();
            // A volume with a slash in its name has none in its key. What is called so literally goes first.
            if !are_called.contains(&true) {
                are_called = archives.iter().map(|archive| archive.is_of_volume(name)).collect();
            }
            if !are_called.contains(&true) {
                let name = printable(name);
                return Err(Failure {
                    problem: Problem::Other(anyhow!(
                        "there is no archive `{name}` in the cache, `ci cache ls` shows what there is"
                    )),
                    exit_code: 1,
                });
            }
            for (found, is_called) in found.iter_mut().zip(are_called) {
                *found |= is_called;
            }
        }
        let archives = archives.into_iter().zip(found).filter(|(_, found)| *found);
        Ok(archives.map(|(archive, _)| archive).collect())
    }

    /// The same archives with what their writers have said of them. Those that are gone are left out.
    async fn described(&self, archives: Vec<Archive>) -> Result<Vec<Archive>, Failure> {
        let looks = archives.into_iter().map(async |archive: Archive| {
            // A listing does not tell who wrote an object.
            let found = self.store.stat(&archive.info.key).await.map_err(failed)?;
            Ok::<_, Failure>(found.map(|info| Archive { info, ..archive }))
        });
        let found: Vec<Option<Archive>> = iter(looks).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Shows archives and removes them if that is what the user wants, and returns whether it is. Each one is
    /// removed only if it is still the one that was shown.
    async fn remove(&self, archives: &[Archive], how: &RemovalArgs) -> Result<bool, Failure> {
        let bytes = archives.iter().map(|archive| archive.info.size).sum();
        let what = match archives {
            [one] => format!("`{}` ({})", one.info.key, human_size(bytes)),
            all => {
                let archives = counted(all.len() as u64, "archive", "archives");
                format!("{archives} ({})", human_size(bytes))
            }
        };
        let what = printable(&what);
        match how.json {
            true => archives::json(&describe_all(archives))?,
            false => archives::show(archives)?,
        }
        if how.dry_run {
            how.say(&format!("would remove {what}\n"))?;
            return Ok(false);
        }
        if !how.agreed(&what)? {
            return Ok(false);
        }
        let mut kept = Vec::new();
        for archive in archives {
            let Archive { info, .. } = archive;
            if !self.store.delete(&info.key, &info.etag).await.map_err(failed)? {
                kept.push(format!("`{}`", printable(info.key.as_str())));
            }
        }
        match kept.len() {
            0 => how.say(&format!("removed {what}\n")),
            count => {
                let removed = counted((archives.len() - count) as u64, "archive", "archives");
                how.say(&format!(
                    "removed {removed}; {} changed meanwhile and stayed\n",
                    kept.join(", ")
                ))
            }
        }
        .map(|()| true)
    }
}

impl RemovalArgs {
    /// Whether the user wants this to be removed.
    fn agreed(&self, what: &str) -> Result<bool, Failure> {
        if self.yes || confirmed(&format!("remove {what}?"), "remove")? {
            return Ok(true);
        }
        self.say("nothing was removed\n")?;
        Ok(false)
    }

    /// For people, so not beside JSON.
    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { print(text) }
    }
}

/// An age, as in `30d`.
fn age_argument(text: &str) -> Result<std::time::Duration, String> {
    crate::duration::parse(text)
        .map_err(|error| format!("expected a duration such as `30d` or `12h`{}", error.hint()))
}

/// Asks the user. `verb` is what `--yes` would do.
fn confirmed(question: &str, verb: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(wrong(format!(
            "stdin is not a terminal: pass `--yes` to {verb} without asking"
        )));
    }
    let asked = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    asked
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|error| unavailable(format!("cannot ask: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes to the standard output. Who closes it has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(unavailable(format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The store's own words.
fn failed(error: StoreError) -> Failure {
    unavailable(printable(&error.to_string()))
}

fn unavailable(message: String) -> Failure {
    Failure { problem: Problem::Other(Error::msg(message)), exit_code: 3 }
}

fn wrong(message: String) -> Failure {
    Failure { problem: Problem::Other(Error::msg(message)), exit_code: 2 }
}
