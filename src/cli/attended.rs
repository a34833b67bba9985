//! Work before a run, such as reading a large file or a pipe, that a signal and `--timeout` end.

use std::future::pending;
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::{Failure, Problem};
use crate::stop::StopReason;

/// Does the work on a thread of its own. What ends it early does not wait for that thread: a read from a
/// pipe ends only when the writer does something.
pub fn run<T: Send + 'static>(
    runtime: &Runtime,
    timeout: Option<Duration>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (send, done) = oneshot::channel();
    // Listens before the work starts.
    let _context = runtime.enter();
    let stopped = stopped(timeout).map_err(cannot_start)?;
    std::thread::Builder::new()
        .name("reader".to_owned())
        .stack_size(STACK)
        .spawn(move || _ = send.send(work()))
        .map_err(cannot_start)?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            result = done => result.unwrap_or_else(|_| {
                let message = "internal error: reading the pipeline ended unexpectedly, for the reason above";
                Err(Failure { problem: Problem::Other(anyhow!("{message}")), exit_code: 3 })
            }),
            (reason, exit_code) = stopped => {
                Err(Failure { problem: Problem::Other(anyhow!("{reason}")), exit_code })
            }
        }
    })
}

/// The stack of the thread, in bytes. Documents are nested, and only what is used takes memory.
const STACK: usize = 64 * 1024 * 1024;

/// Waits for what ends the work early.
fn stopped(timeout: Option<Duration>) -> std::io::Result<impl Future<Output = (StopReason, u8)>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let passed = async {
            match timeout {
                Some(timeout) => {
                    tokio::time::sleep(timeout).await;
                    StopReason::TimedOut(timeout)
                }
                None => pending().await,
            }
        };
        tokio::select! {
            reason = passed => (reason, 124),
            _ = interrupt.recv() => (StopReason::Interrupted, 130),
            _ = terminate.recv() => (StopReason::Interrupted, 130),
        }
    })
}

fn cannot_start(error: std::io::Error) -> Failure {
    Failure { problem: Problem::Other(anyhow!("cannot start the run: {error}")), exit_code: 3 }
}
