use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::{Failure, Problem};
use crate::dsn::{Dsn, DsnError};
use crate::pipeline;
use crate::report::{Format, Output};
use crate::run::{self, RunOptions};

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
    /// The pipeline's file: .ts, .mts, .js or .mjs
    file: PathBuf,

    /// Where tasks run and volumes are cached, as a DSN such as `native` or
    /// `native://?cache=s3://bucket?region=eu-west-1`
    // Neither the help nor an error of the parser may show what it holds.
    #[arg(
        long,
        value_name = "DSN",
        env = "CI_DRIVER",
        hide_env_values = true,
        default_value = "native"
    )]
    driver: String,

    /// Fail the run with exit code 3 when the cache does not work
    #[arg(long)]
    cache_strict: bool,

    /// End the run after this time, such as `90s` or `1h 30m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// How to show the run: `auto` is `tty` on a terminal and `plain` elsewhere
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Output::Auto)]
    output: Output,

    /// The most memory for the pipeline's own objects, and again for its typed arrays, such as
    /// `512MiB`
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = heap_size)]
    js_heap: ByteSize,

    /// What the pipeline finds in `pipelineContext.args`
    #[arg(last = true)]
    args: Vec<String>,
}

impl Run {
    pub fn execute(self) -> Result<(), Failure> {
        let source = pipeline::locate(&self.file).map_err(|diagnostic| Failure {
            problem: Problem::Diagnostic(diagnostic),
            exit_code: 2,
        })?;
        let dsn = dsn(&self.driver).map_err(|error| Failure {
            problem: Problem::Message(format!("invalid `--driver`: {error}")),
            exit_code: 2,
        })?;
        let options = RunOptions {
            source,
            driver: dsn.driver,
            cache: dsn.cache,
            cache_strict: self.cache_strict,
            timeout: self.timeout,
            format: Format::choose(self.output),
            heap_limit: self.js_heap.as_u64(),
            args: self.args,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure {
                problem: Problem::Message(format!("cannot start the run: {error}")),
                exit_code: 3,
            })?;
        let result = runtime.block_on(run::run(options));
        // The isolate's thread and reads that nobody waits for must not hold up the end.
        runtime.shutdown_background();
        result.map_err(|error| Failure {
            exit_code: error.exit_code(),
            problem: match error.diagnostic() {
                Some(diagnostic) => Problem::Diagnostic(Box::new(diagnostic.clone())),
                None => Problem::Message(error.to_string()),
            },
        })
    }
}

/// The engine itself needs a few MiB before a pipeline has done anything.
const SMALLEST_HEAP: ByteSize = ByteSize::mib(16);

/// An empty `$CI_DRIVER` is as good as none.
fn dsn(text: &str) -> Result<Dsn, DsnError> {
    if text.is_empty() { "native".parse() } else { text.parse() }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a duration longer than zero, such as `90s` or `1h 30m`".to_owned()),
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
