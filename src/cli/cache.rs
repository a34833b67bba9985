//! `ci cache`: what is in a cache of volumes, and getting rid of it.

mod archives;
mod list;
mod prune;
mod remove;
mod stat;
mod verify;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};

use self::archives::Archive;
use super::{Failure, Problem};
use crate::cache::{self, CacheConfig, CacheStore, StoreError};
use crate::report::{counted, human_size};
use crate::{dsn, state};

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
    /// `s3://bucket/prefix?region=eu-west-1` or `file:///var/cache/volumes`
    // Neither the help nor an error of the parser may show what it holds.
    #[arg(
        long,
        visible_alias = "driver",
        value_name = "DSN|URL",
        env = "CI_DRIVER",
        hide_env_values = true
    )]
    store: Option<String>,
}

/// A store, and what concerns it of the settings.
struct Opened {
    config: CacheConfig,
    store: Arc<dyn CacheStore>,
}

impl StoreArgs {
    fn open(&self) -> Result<Opened, Failure> {
        let text = self.store.as_deref().unwrap_or_default();
        let is_url = ["s3://", "file://"].iter().any(|scheme| text.starts_with(scheme));
        let config = match is_url {
            true => CacheConfig::from_url(text).map(Some).map_err(|error| error.to_string()),
            false => dsn::cache_of(text).map_err(|error| error.to_string()),
        };
        let config = config.map_err(|error| wrong(format!("invalid `--store`: {error}")))?;
        let config = config.ok_or_else(|| {
            wrong("no cache is given, name one as in `--store s3://bucket/prefix`".to_owned())
        })?;
        let store = cache::open(&config, state::directory());
        Ok(Opened { config, store })
    }
}

impl Opened {
    /// Everything below the configured prefixes.
    async fn archives(&self) -> Result<Vec<Archive>, Failure> {
        let prefix = self.config.key_prefix().map_err(|error| wrong(error.to_string()))?;
        let found = self.store.list(&prefix).await.map_err(failed)?;
        Ok(found.into_iter().map(|info| Archive::new(info, &prefix)).collect())
    }

    /// The archives of these names: a volume's name, or a key as `ls` shows it.
    async fn named(&self, names: &[String]) -> Result<Vec<Archive>, Failure> {
        let archives = self.archives().await?;
        for name in names {
            if !archives.iter().any(|archive| archive.is_called(name)) {
                return Err(Failure {
                    problem: Problem::Message(format!(
                        "there is no archive `{name}` in the cache, `ci cache ls` shows what there is"
                    )),
                    exit_code: 1,
                });
            }
        }
        let is_named = |archive: &Archive| names.iter().any(|name| archive.is_called(name));
        Ok(archives.into_iter().filter(is_named).collect())
    }

    /// Removes archives, if that is what the user wants.
    async fn remove(&self, archives: &[Archive], yes: bool) -> Result<(), Failure> {
        let bytes = archives.iter().map(|archive| archive.info.size).sum();
        let what = match archives {
            [one] => format!("`{}` ({})", one.info.key, human_size(bytes)),
            all => {
                let archives = counted(all.len() as u64, "archive", "archives");
                format!("{archives} ({})", human_size(bytes))
            }
        };
        if !yes && !confirmed(&format!("remove {what}?"))? {
            return print("nothing was removed\n");
        }
        for archive in archives {
            self.store.delete(&archive.info.key).await.map_err(failed)?;
        }
        print(&format!("removed {what}\n"))
    }
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(wrong("nobody can be asked here, say `--yes` to remove".to_owned()));
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
    unavailable(error.to_string())
}

fn unavailable(message: String) -> Failure {
    Failure { problem: Problem::Message(message), exit_code: 3 }
}

fn wrong(message: String) -> Failure {
    Failure { problem: Problem::Message(message), exit_code: 2 }
}
