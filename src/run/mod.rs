//! The story of one run.

mod closing;
mod watch;

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diagnostic::Diagnostic;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::context::{Given, RunContext};
use crate::driver::{Driver, DriverConfig, DriverError, NoticeSink, RunIdentity};
use crate::event::EventSink;
use crate::event::{RunEvent, RunStart, RunStatus};
use crate::pipeline::project::commit_of;
use crate::pipeline::{Program, Source};
use crate::process::masking;
use crate::process::panic;
use crate::process::state;
use crate::report::{Format, ReportError, Reporter};
use crate::run::closing::{close, within};
use crate::run::watch::watch;
use crate::script::{Engine, EngineOptions, ScriptError};
use crate::shell::{FailureShell, UserTerminal};
use crate::stop::{Stop, StopReason};
use crate::volume::{LocalStore, RunOutcome, VolumeCache};
use mask::SecretSet;
use store::CacheConfig;

/// How long a pipeline's own code may go on after its tasks were ended, to handle that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it is looked whether files are still being written then.
const LOOKS: Duration = Duration::from_millis(50);

/// How long the tasks of a run that has to stop may tidy up, and how long it may take to remove what the
/// run has made.
const CLEANUP: Duration = Duration::from_secs(30);

/// How long a run that has to stop waits for the cache to let go of what it was doing.
const CACHE_END: Duration = Duration::from_secs(10);

pub struct RunOptions {
    pub source: Source,
    pub program: Program,
    /// What the user should know before anything runs.
    pub notices: Vec<String>,
    pub driver: DriverConfig,
    pub cache: Option<CacheConfig>,
    /// If that is the user's own store.
    pub local_cache: Option<LocalStore>,
    /// Whether a cache that does not work fails the run.
    pub cache_strict: bool,
    pub timeout: Option<Duration>,
    /// When the timeout began to count: reading a pipeline's file is a part of the run.
    pub asked: Instant,
    /// Where the user wants a shell if a task fails.
    pub terminal: Option<Arc<UserTerminal>>,
    pub format: Format,
    /// Where all events are written as JSON, beside the output.
    pub events: Vec<PathBuf>,
    /// In bytes.
    pub heap_limit: u64,
    pub given: Given,
    /// What `ci` was started with, without secrets.
    pub command_line: Vec<String>,
    /// Tells the user that a second signal ends the run without cleaning up.
    pub abandoned: fn(&DriverConfig),
}

/// Why a run did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("{0}")]
    Stopped(StopReason),
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The pipeline failed since something outside of it could not be reached, such as a registry.
    #[error("{0}")]
    Unavailable(Box<Diagnostic>),
    /// Only if the user wants to know that.
    #[error("{0}")]
    Cache(String),
    #[error("the log is incomplete: {0}")]
    Log(#[source] ReportError),
    /// Before anything has started.
    #[error("cannot write to `{}`, which `--events` names: {error}", path.display())]
    Events { path: PathBuf, error: std::io::Error },
    #[error("cannot start the run: {0}")]
    Start(std::io::Error),
    /// Something in this process panicked.
    #[error("internal error: {0}; this is a bug in `ci`, please report it")]
    Internal(String),
}

impl RunError {
    /// As documented in `ci run --help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Script(ScriptError::Invalid(_)) => 2,
            Self::Script(ScriptError::Failed(_)) => 1,
            Self::Stopped(StopReason::TimedOut(_)) => 124,
            Self::Script(ScriptError::Terminated)
            | Self::Stopped(StopReason::Interrupted | StopReason::Failed) => 130,
            Self::Stopped(StopReason::Broken)
            | Self::Driver(_)
            | Self::Unavailable(_)
            | Self::Cache(_)
            | Self::Log(_)
            | Self::Events { .. }
            | Self::Start(_)
            | Self::Internal(_) => 3,
        }
    }

    /// The place in the user's files, for errors that have one.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Self::Script(ScriptError::Invalid(diagnostic) | ScriptError::Failed(diagnostic))
            | Self::Unavailable(diagnostic) => Some(diagnostic),
            _ => None,
        }
    }

    /// The error as it is shown, without secrets.
    fn as_text(&self) -> String {
        let Some(diagnostic) = self.diagnostic() else { return self.to_string() };
        let mut diagnostic = diagnostic.clone();
        masking::hide_in(&mut diagnostic);
        diagnostic.to_string()
    }

    /// The error as data. One that has no place in the user's files is its message alone.
    fn as_diagnostic(&self) -> Box<Diagnostic> {
        let diagnostic = self.diagnostic().cloned();
        Box::new(diagnostic.unwrap_or_else(|| Diagnostic::new(self.to_string())))
    }

    fn status(&self) -> RunStatus {
        match self.exit_code() {
            124 | 130 => RunStatus::Abort,
            3 => RunStatus::Error,
            _ => RunStatus::Failure,
        }
    }
}

/// Runs a pipeline to its end and leaves nothing behind.
pub async fn run(options: RunOptions) -> Result<(), RunError> {
    let started = Instant::now();
    let stop = Arc::new(Stop::default());
    panic::stops(stop.clone());
    watch(&stop, &options).map_err(RunError::Start)?;

    let (events, log) = EventSink::new();
    let files = open_logs(&options.events)?;
    let reporter =
        Reporter::start(options.format, files, log, stop.clone()).map_err(RunError::Start)?;
    let result = AssertUnwindSafe(execute(&options, &stop, &events)).catch_unwind().await;
    let result = result.unwrap_or(Err(RunError::Stopped(StopReason::Broken)));
    let mut result = match (stop.panic(), result) {
        // The user or the clock came first.
        (_, Err(RunError::Stopped(reason))) if reason != StopReason::Broken => {
            Err(RunError::Stopped(reason))
        }
        (Some(message), _) => Err(RunError::Internal(message.to_owned())),
        (None, result) => result,
    };
    let finished = events.send(RunEvent::RunFinished {
        status: result.as_ref().map_or_else(RunError::status, |()| RunStatus::Success),
        exit_code: result.as_ref().map_or_else(RunError::exit_code, |()| 0),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        error: result.as_ref().err().map(RunError::as_text),
        diagnostic: result.as_ref().err().map(RunError::as_diagnostic),
    });
    let log = async {
        finished.await;
        tokio::task::spawn_blocking(move || reporter.finish()).await
    };
    // A run that has to stop does not wait for somebody who has stopped reading its log.
    match within(&stop, LAST_WORDS, log).await {
        Some(Ok(Err(error @ (ReportError::Write(_) | ReportError::File { .. })))) => {
            result.and(Err(RunError::Log(error)))
        }
        // Who closes the log has seen enough of it.
        Some(Ok(Ok(()) | Err(ReportError::Closed)) | Err(_)) => result,
        None => {
            if result.is_ok() {
                result = Err(stopped(&stop));
            }
            result
        }
    }
}

/// Opens the files that the user wants to have events in.
fn open_logs(paths: &[PathBuf]) -> Result<Vec<(PathBuf, File)>, RunError> {
    let open = |path: &PathBuf| match File::create(path) {
        Ok(file) => Ok((path.clone(), file)),
        Err(error) => Err(RunError::Events { path: path.clone(), error }),
    };
    paths.iter().map(open).collect()
}

/// Why a run that has to stop does.
fn stopped(stop: &Stop) -> RunError {
    RunError::Stopped(stop.reason().unwrap_or(StopReason::Interrupted))
}

async fn execute(
    options: &RunOptions,
    stop: &Arc<Stop>,
    events: &EventSink,
) -> Result<(), RunError> {
    let identity =
        RunIdentity { run: uuid::Uuid::new_v4().to_string(), pipeline: options.source.id() };
    // V8 starts and the pipeline is read while the driver is made ready.
    let (hand_over, context) = oneshot::channel();
    let mut engine = Engine::start(
        EngineOptions {
            program: options.program.clone(),
            root: options.given.directories.project.root().to_owned(),
            heap_limit: options.heap_limit,
        },
        context,
    )
    .map_err(RunError::Start)?;
    let project = options.given.directories.project.root();
    events
        .send(RunEvent::RunStarted(Box::new(RunStart {
            run: identity.run.clone(),
            pipeline: identity.pipeline.clone(),
            file: options.source.given.clone(),
            driver: options.driver.name().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            host: host_name(),
            commit: commit_of(project),
            project: project.to_string_lossy().into_owned(),
            args: options.command_line.clone(),
        })))
        .await;
    for notice in &options.notices {
        events.notice(notice.clone());
    }
    for name in masking::unmasked() {
        events.warning(format!(
            "the secret `{name}` has less than {} bytes without white space, so it is not masked where something \
             is shown",
            SecretSet::LEAST
        ));
    }
    let notices: NoticeSink = {
        let events = events.clone();
        Arc::new(move |text| events.notice(text))
    };
    let cache = match &options.cache {
        Some(config) => connect_cache(config, options, &identity, stop, events).await?,
        None => None,
    };
    let driver = connect_driver(&options.driver, &identity, notices, stop).await?;
    // Not owned, so that the driver still ends with this run.
    let (hurried, outside) = (Arc::downgrade(&driver), stop.outside().clone());
    tokio::spawn(async move {
        outside.cancelled().await;
        if let Some(driver) = hurried.upgrade() {
            driver.hurry();
        }
    });
    let shell = options
        .terminal
        .as_ref()
        .map(|terminal| FailureShell::new(terminal.clone(), events.clone(), stop.clone()));
    let context = Arc::new(RunContext::new(
        identity,
        options.given.clone(),
        driver.clone(),
        cache.clone(),
        events.clone(),
        stop.clone(),
        shell,
    ));
    _ = hand_over.send(context.clone());

    // A panic in here must not keep the driver from ending what it has started.
    let live = live(&mut engine, stop, &context, &*driver, cache.as_deref());
    let outcome = AssertUnwindSafe(live).catch_unwind().await;
    let outcome = outcome.unwrap_or(Err(RunError::Stopped(StopReason::Broken)));
    // As `live` does it, unless that has panicked.
    settle_volumes(stop, &context).await;
    let reason = stop.reason();
    if !stop.outside().is_cancelled() && context.files.has_lent() {
        let tidying = async {
            driver.end_tasks().await;
            context.files.take_back().await;
        };
        _ = within(stop, LAST_WORDS, tidying).await;
    }
    // The pipeline was done before: what ends the tidying early does not change how it went.
    let is_tidied_early = reason.is_none() && stop.reason().is_some();
    let closed = close(&*driver, stop, events, CLEANUP).await;
    match outcome {
        Err(RunError::Script(ScriptError::Failed(diagnostic)))
            if context.tasks.was_unavailable(|reason| diagnostic.mentions(reason)) =>
        {
            return Err(RunError::Unavailable(diagnostic));
        }
        outcome => outcome?,
    }
    closed?;
    if let Some(reason) = stop.reason()
        && !is_tidied_early
    {
        return Err(RunError::Stopped(reason));
    }
    match cache.map(|cache| cache.failures()) {
        Some(failures) if options.cache_strict && !failures.is_empty() => {
            Err(RunError::Cache(failures.join("; ")))
        }
        _ => Ok(()),
    }
}

/// From the first line of the pipeline to the last volume that is persisted.
async fn live(
    engine: &mut Engine,
    stop: &Stop,
    context: &RunContext,
    driver: &dyn Driver,
    cache: Option<&VolumeCache>,
) -> Result<(), RunError> {
    let outcome = settle(engine, stop, context).await;
    if outcome.is_err() {
        // What still runs now was left behind by a failure; it ends as aborted.
        stop.request(StopReason::Failed);
    }
    context.tasks.idle().await;
    settle_volumes(stop, context).await;
    let Some(cache) = cache else { return outcome };
    driver.end_tasks().await;
    let persisted = within(stop, CACHE_END, context.volumes.persist(ended(&outcome))).await;
    // Without a stop, it ends when the archives are removed; with one, the next run makes room.
    _ = within(stop, Duration::ZERO, cache.make_room()).await;
    let closed = within(stop, CACHE_END, cache.close()).await;
    if persisted.is_none() || closed.is_none() {
        context.events.warning("the cache did not let go in time, and may keep an upload".into());
    }
    match (outcome, stop.reason()) {
        (Ok(()), Some(reason)) => Err(RunError::Stopped(reason)),
        (outcome, _) => outcome,
    }
}

/// Ends what is done with files and volumes in the background, which would write to what is about to be
/// removed.
async fn settle_volumes(stop: &Stop, context: &RunContext) {
    if within(stop, CACHE_END, context.files.settle()).await.is_none() {
        context.events.warning("files were still being copied when the run ended".into());
    }
    if within(stop, CACHE_END, context.volumes.settle()).await.is_none() {
        context
            .events
            .warning("a volume was still being made or restored when the run ended".into());
    }
}

/// Connects to the driver. When the run has to stop before that is done, what was made for it is removed
/// as far as that takes no time.
async fn connect_driver(
    config: &DriverConfig,
    identity: &RunIdentity,
    notices: NoticeSink,
    stop: &Stop,
) -> Result<Arc<dyn Driver>, RunError> {
    let (config, identity) = (config.clone(), identity.clone());
    let mut connecting = tokio::spawn(async move { config.connect(&identity, notices).await });
    tokio::select! {
        biased;
        connected = &mut connecting => {
            let panicked = |_| RunError::Stopped(StopReason::Broken);
            return Ok(connected.map_err(panicked)??);
        }
        () = stop.outside().cancelled() => {}
    }
    let close = async {
        if let Ok(Ok(driver)) = (&mut connecting).await {
            _ = driver.close().await;
        }
    };
    if tokio::time::timeout(LAST_WORDS, close).await.is_err() {
        connecting.abort();
    }
    Err(stopped(stop))
}

/// Starts to ask the store whether it can be used. Who insists on the cache waits for the answer.
async fn connect_cache(
    config: &CacheConfig,
    options: &RunOptions,
    identity: &RunIdentity,
    stop: &Stop,
    events: &EventSink,
) -> Result<Option<Arc<VolumeCache>>, RunError> {
    if !config.policy.pulls() && !config.policy.pushes() {
        return Ok(None);
    }
    let store = store::open(config, state::directory());
    let cache = VolumeCache::new(
        config.clone(),
        store,
        format!("{} of {}", identity.run, identity.pipeline),
        events.clone(),
        stop.outside().clone(),
    );
    let cache = cache
        .of_project(options.given.directories.project.name())
        .in_local_store(options.local_cache.clone());
    let cache = Arc::new(cache);
    let probed = cache.clone();
    let probe = tokio::spawn(async move { probed.connect().await });
    if options.cache_strict {
        tokio::select! {
            biased;
            _ = probe => {}
            () = stop.outside().cancelled() => return Err(stopped(stop)),
        }
        let failures = cache.failures();
        if !failures.is_empty() {
            return Err(RunError::Cache(failures.join("; ")));
        }
    }
    Ok(Some(cache))
}

fn ended(outcome: &Result<(), RunError>) -> RunOutcome {
    match outcome {
        Ok(()) => RunOutcome::Succeeded,
        Err(RunError::Stopped(_)) => RunOutcome::Aborted,
        Err(_) => RunOutcome::Failed,
    }
}

/// Waits for the pipeline. When the run has to stop first, the tasks end, those that tidy up get
/// some time, and the pipeline's own code gets a moment for last words after each.
async fn settle(engine: &mut Engine, stop: &Stop, context: &RunContext) -> Result<(), RunError> {
    let outcome = tokio::select! {
        biased;
        outcome = engine.outcome() => outcome,
        () = async {
            stop.token().cancelled().await;
            // An artifact may be written in a `finally`.
            let quiet = async {
                context.tasks.quiet(LAST_WORDS).await;
                while !context.files.is_idle() {
                    context.tasks.quiet(LOOKS).await;
                }
            };
            tokio::select! {
                () = quiet => {}
                () = tokio::time::sleep(CLEANUP) => {
                    stop.end_cleanup();
                    context.tasks.quiet(LAST_WORDS).await;
                }
            }
        } => {
            engine.terminate();
            Err(ScriptError::Terminated)
        }
    };
    match stop.reason() {
        Some(reason) => Err(RunError::Stopped(reason)),
        None => Ok(outcome?),
    }
}

/// The name of this machine, if it has one that is text.
fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
