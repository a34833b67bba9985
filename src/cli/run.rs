use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::source::Project;
use anyhow::{Error, anyhow};
use bytesize::ByteSize;
use clap::Args;
use concourse::Selection;
use diagnostic::Diagnostic;

use super::cache_args::CacheArgs;
use super::output::OutputArg;
use super::secrets::SecretArgs;
use super::vars::VarArgs;
use super::{Failure, Problem, attended};
use crate::context::Given;
use crate::driver::dsn::{Dsn, DsnError};
use crate::driver::{DRIVERS, DriverConfig, Interrupted};
use crate::pipeline::{self, Language, Program, Source};
use crate::process::{limits, masking};
use crate::project::{ARTIFACTS, Directories, check_output};
use crate::report::{Format, Output};
use crate::run::{self, RunOptions};
use crate::secret::{self, Secrets};
use crate::shell::UserTerminal;

/// Runs a pipeline.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
    0  the pipeline succeeded
    1  the pipeline failed
    2  the command line or the pipeline's file is wrong
    3  the driver or another outside system is unavailable
  124  the run timed out
  130  the run was interrupted")]
pub struct Run {
    /// The pipeline's file: .ts, .mts, .js, .mjs, .yml or .yaml; `-` for YAML on the standard input
    file: PathBuf,

    /// Where tasks run, as a DSN such as `native`, `docker` or `docker://?pull=always`
    // Neither the help nor an error of the parser may show what it holds.
    #[arg(
        long,
        value_name = "DSN",
        env = "CI_DRIVER",
        hide_env_values = true,
        default_value = "native"
    )]
    driver: String,

    /// End the run after this time, such as `90s` or `1h 30m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// Open a shell in the container or the directory of the first task that fails; the run goes on when
    /// the shell ends, and no timeout passes before
    #[arg(long)]
    shell_on_failure: bool,

    /// How to show the run: `auto`, which is `tty` on a terminal and `plain` elsewhere, `tty`, `plain` or
    /// `json`. As `NAME=DIR`, write this artifact of a YAML pipeline to a directory when its job has
    /// succeeded; may be given several times
    #[arg(long, value_name = "FORMAT|NAME=DIR")]
    output: Vec<OutputArg>,

    /// Write all events to this file as well, one JSON object a line; may be given several times
    #[arg(long, value_name = "FILE")]
    events: Vec<PathBuf>,

    /// The most memory that the pipeline's own code may use for its objects, its typed arrays, and the
    /// input and the results of its tasks, such as `512MiB`
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = heap_size)]
    js_heap: ByteSize,

    /// The project, whose files `runtime.source` takes: the git work tree around the pipeline's file, or the
    /// directory of the file, unless this names another directory
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,

    /// Another directory whose files the pipeline may take, as `runtime.source({ input: "NAME" })`; in a YAML
    /// pipeline it is the artifact of that name, and its resource is not fetched; may be given several times
    #[arg(long, value_name = "NAME=DIR")]
    input: Vec<String>,

    /// Where `runtime.artifact` puts results, `ci-artifacts` in the project by default
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,

    /// The image of tasks that name none, on a driver with images
    #[arg(long, value_name = "IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    image: Option<String>,

    #[command(flatten)]
    vars: VarArgs,

    #[command(flatten)]
    secrets: SecretArgs,

    /// Run this job of a YAML pipeline, and the jobs that it waits for
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    /// How many jobs of a YAML pipeline, and how many tasks, run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: Option<u32>,

    #[command(flatten)]
    cache: CacheArgs,

    /// What the pipeline finds in `pipelineContext.args`
    #[arg(last = true)]
    args: Vec<String>,
}

impl Run {
    /// The variables that hold secrets.
    pub fn secret_variables(&self) -> Vec<String> {
        self.secrets.variables()
    }

    /// Runs it. `command_line` is what the user typed, without secrets.
    pub fn execute(self, command_line: Vec<String>) -> Result<(), Failure> {
        let failed =
            |message| Failure { problem: Problem::Other(Error::msg(message)), exit_code: 3 };
        limits::check().map_err(|reason| failed(format!("cannot start the run: {reason}")))?;
        let source = pipeline::locate(&self.file).map_err(Failure::invalid)?;
        let dsn = dsn(&self.driver)?;
        self.without_stdout()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // Tasks may leave no room for further threads, and without any of these it would panic.
            .thread_keep_alive(Duration::from_secs(24 * 60 * 60))
            .enable_all()
            .build()
            .map_err(|error| failed(format!("cannot start the run: {error}")))?;
        let asked = Instant::now();
        let given = self.secrets.clone();
        let secrets = match given.is_empty() {
            true => Secrets::default(),
            // One of the files may be a pipe to which nobody writes.
            false => attended::run(&runtime, self.timeout, move || given.load())?,
        };
        let directories = self.directories(&source)?;
        let cache = self.cache.choose(dsn.cache, directories.project.root())?;
        masking::add(cache.config.iter().flat_map(secret::of_store));
        let (program, notices) = match source.language {
            Language::Script => self.script(&source)?,
            Language::Yaml => {
                self.without_arguments()?;
                let driver = dsn.driver.clone();
                let work = self.plan(source.clone(), driver, &directories, secrets.clone());
                attended::run(&runtime, self.timeout, work)?
            }
        };
        let options = RunOptions {
            source,
            program,
            notices,
            driver: dsn.driver,
            cache: cache.config,
            local_cache: cache.local,
            cache_strict: self.cache.cache_strict,
            timeout: self.timeout,
            asked,
            terminal: self.terminal()?,
            format: Format::choose(self.format()?),
            events: self.events,
            heap_limit: self.js_heap.as_u64(),
            given: Given { args: self.args, image: self.image, directories, secrets },
            command_line,
            abandoned,
        };
        let result = runtime.block_on(run::run(options));
        // The isolate's thread and reads that nobody waits for must not hold up the end.
        runtime.shutdown_background();
        result.map_err(|error| Failure {
            exit_code: error.exit_code(),
            problem: match error.diagnostic() {
                Some(diagnostic) => Problem::Diagnostic(Box::new(diagnostic.clone())),
                None => Problem::Other(anyhow!("{error}")),
            },
        })
    }
}

/// Says that a second signal has ended the run, and what that leaves.
fn abandoned(driver: &DriverConfig) {
    let Interrupted { message, help } = driver.registration().interrupted;
    let diagnostic = Diagnostic::new(message).help(help);
    if std::io::stderr().is_terminal() {
        // The line of the running tasks may be there.
        // It may be gone, which must not hold up the end.
        _ = writeln!(std::io::stderr());
    }
    super::print(Problem::Diagnostic(Box::new(diagnostic)));
}

impl Run {
    /// The terminal for a shell, if one is wanted.
    fn terminal(&self) -> Result<Option<Arc<UserTerminal>>, Failure> {
        if !self.shell_on_failure {
            return Ok(None);
        }
        let invalid = |message: &str, help: &str| {
            Failure::invalid(Box::new(Diagnostic::new(message).help(help)))
        };
        if self.format()? == Output::Json {
            let help = "leave one of them out, since both would write to the same terminal";
            return Err(invalid("`--shell-on-failure` does not go with `--output json`", help));
        }
        let terminal = UserTerminal::find().map_err(|error| {
            let help = "run it from one, or leave the option out";
            invalid(&format!("`--shell-on-failure` needs a terminal: {error}"), help)
        })?;
        Ok(Some(Arc::new(terminal)))
    }

    /// The directories whose files the pipeline may have, and the one for its results.
    fn directories(&self, source: &Source) -> Result<Directories, Failure> {
        let invalid = |message: String, help: &str| {
            let diagnostic = Diagnostic::new(message);
            let diagnostic = if help.is_empty() { diagnostic } else { diagnostic.help(help) };
            Failure::invalid(Box::new(diagnostic))
        };
        let project = match (&self.source, source.is_stdin()) {
            // It is in no directory, so it belongs to the one that `ci` is started in.
            (None, true) => std::env::current_dir()
                .map_err(|cause| invalid(format!("cannot find the working directory: {cause}"), ""))
                .and_then(|directory| {
                    Project::find(&directory.join("-"), Some(&directory))
                        .map_err(|error| invalid(error.to_string(), ""))
                })?,
            (explicit, _) => Project::find(&source.file, explicit.as_deref())
                .map_err(|error| invalid(error.to_string(), "`--source` names a directory"))?,
        };
        let mut inputs = BTreeMap::new();
        for given in &self.input {
            let help = "write `--input NAME=DIR`, each name once";
            let Some((name, directory)) =
                given.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                return Err(invalid(
                    format!("`--input` takes a name and a directory, got `{given}`"),
                    help,
                ));
            };
            let found = Project::at(Path::new(directory))
                .map_err(|error| invalid(format!("input `{name}`: {error}"), help))?;
            if inputs.insert(name.to_owned(), found).is_some() {
                return Err(invalid(format!("the input `{name}` is given twice"), help));
            }
        }
        let artifacts = match &self.artifacts {
            // A link that the user names is followed; one that came with the project is not.
            Some(path) => {
                path.canonicalize().or_else(|_| std::path::absolute(path)).map_err(|cause| {
                    invalid(format!("cannot find `{}`: {cause}", path.display()), "")
                })?
            }
            None => project.root().join(ARTIFACTS),
        };
        let logs = self.events.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
        let outputs = self.outputs()?;
        Ok(Directories { project, inputs, artifacts, outputs, logs })
    }

    /// How to show the run.
    fn format(&self) -> Result<Output, Failure> {
        let mut formats = self.output.iter().filter_map(OutputArg::format);
        let format = formats.next().unwrap_or_default();
        match formats.next() {
            None => Ok(format),
            Some(_) => Err(Failure::invalid(Box::new(
                Diagnostic::new("`--output` gives two formats").help("keep one of them"),
            ))),
        }
    }

    /// Where artifacts are written.
    fn outputs(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let mut outputs = BTreeMap::new();
        for (name, directory) in self.output.iter().filter_map(OutputArg::artifact) {
            let invalid = |message: String| Failure::invalid(Box::new(Diagnostic::new(message)));
            let path = std::path::absolute(directory).map_err(|cause| {
                invalid(format!("output `{name}`: cannot find `{}`: {cause}", directory.display()))
            })?;
            if outputs
                .values()
                .any(|other: &PathBuf| other.starts_with(&path) || path.starts_with(other))
            {
                let message = format!("two outputs go to `{}` or below it", directory.display());
                return Err(invalid(message));
            }
            check_output(name, &path).map_err(|error| invalid(error.to_string()))?;
            if outputs.insert(name.to_owned(), path).is_some() {
                return Err(invalid(format!("the output `{name}` is given twice")));
            }
        }
        Ok(outputs)
    }

    /// Refuses `-` as a file for events, which elsewhere is the standard output.
    fn without_stdout(&self) -> Result<(), Failure> {
        if !self.events.iter().any(|file| file.as_os_str() == "-") {
            return Ok(());
        }
        let help = "for events on the standard output, write `--output json`; for this file, `./-`";
        Err(Failure::invalid(Box::new(
            Diagnostic::new("`--events` takes a file, got `-`").help(help),
        )))
    }

    /// Refuses arguments that no step of a YAML pipeline could read.
    fn without_arguments(&self) -> Result<(), Failure> {
        let Some(first) = self.args.first() else { return Ok(()) };
        let message = format!("a YAML pipeline takes no arguments, got `{first}` after `--`");
        let help = "pass values with `--var NAME=VALUE`, and write `((NAME))` in the pipeline";
        Err(Failure::invalid(Box::new(Diagnostic::new(message).help(help))))
    }

    /// A script, which is read by the engine that runs it.
    fn script(&self, source: &Source) -> Result<(Program, Vec<String>), Failure> {
        let given = [
            (self.job.is_some(), "--job"),
            (self.max_in_flight.is_some(), "--max-in-flight"),
            (self.vars.is_given(), "--var"),
            (self.output.iter().any(|output| output.artifact().is_some()), "--output NAME=DIR"),
        ];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Failure::invalid(Box::new(
                Diagnostic::new(format!("`{option}` is for YAML pipelines")).help(match option {
                    "--output NAME=DIR" => "a script hands its results over by `runtime.artifact`",
                    _ => "pass values to a script after `--`, as in `ci run x.ts -- a b`",
                }),
            ))),
            None => Ok((Program::Module(source.file.clone()), Vec::new())),
        }
    }

    /// Reads a YAML pipeline, and checks it as far as that is possible without running it.
    fn plan(
        &self,
        source: Source,
        driver: DriverConfig,
        directories: &Directories,
        secrets: Secrets,
    ) -> impl FnOnce() -> Result<(Program, Vec<String>), Failure> + Send + use<> {
        let selection = Selection {
            job: self.job.clone(),
            max_in_flight: self.max_in_flight,
            inputs: directories.inputs.keys().cloned().collect(),
            outputs: directories.outputs.keys().cloned().collect(),
        };
        let (vars, remote) = (self.vars.clone(), directories.project.remote());
        let root = directories.project.root().to_owned();
        move || {
            let mut checked =
                vars.load(&source, &selection.inputs, &secrets, selection.job.as_deref())?;
            checked.select(&selection).map_err(Failure::invalid)?;
            checked.notice_own_remote(remote.as_deref(), &root);
            let images = driver.registration().capabilities.images;
            let check = match images {
                true => checked.with_images(),
                false => checked
                    .without_images(&resources::names())
                    .and_then(|()| checked.without_secret_addresses(|text| secrets.within(text))),
            };
            check.map_err(Failure::invalid)?;
            if !images {
                let notices = pipeline::check_built_in(&checked.plan);
                checked.notices.extend(notices.map_err(Failure::diagnostics)?);
            }
            let plan = checked.to_json().map_err(Failure::diagnostics)?;
            Ok((Program::Plan(plan), checked.notices))
        }
    }
}

/// The engine itself needs a few MiB before a pipeline has done anything.
const SMALLEST_HEAP: ByteSize = ByteSize::mib(16);

/// What `--driver` says. An empty `$CI_DRIVER` is as good as none.
pub fn dsn(text: &str) -> Result<Dsn, Failure> {
    let parsed = if text.is_empty() { DRIVERS[0].name.parse() } else { text.parse() };
    parsed.map_err(|error: DsnError| Failure {
        problem: Problem::Other(anyhow!("invalid `--driver`: {error}")),
        exit_code: 2,
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration longer than zero, such as `90s` or `1h 30m`";
    match crate::duration::parse(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(expected.to_owned()),
        Err(error) => Err(format!("{expected}{}", error.hint())),
    }
}

fn heap_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize =
        text.parse().map_err(|_| "expected a size such as `512MiB` or `2GiB`".to_owned())?;
    if size < SMALLEST_HEAP {
        return Err(format!("expected at least {}", SMALLEST_HEAP.display().iec()));
    }
    Ok(size)
}
