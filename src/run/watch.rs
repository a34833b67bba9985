//! What asks a run to stop from outside: signals and `--timeout`.

use std::sync::Arc;

use nix::libc;
use tokio::signal::unix::{SignalKind, signal};

use super::RunOptions;
use crate::stop::{Stop, StopReason};

/// Whether this process was started by `nohup`.
fn ignores_hangup() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, `sigaction` only writes the current one, for which there is room;
    // it is read when the call says that it was written.
    unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Turns signals and the timeout into a request to stop. The second signal ends the process.
pub fn watch(stop: &Arc<Stop>, options: &RunOptions) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Under `nohup` a hangup is ignored, and stays so.
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    let (signalled, terminal) = (stop.clone(), options.terminal.clone());
    let (driver, abandoned) = (options.driver.clone(), options.abandoned);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hangup.as_mut()?.recv().await } => {}
            }
        };
        next().await;
        signalled.request(StopReason::Interrupted);
        next().await;
        if let Some(terminal) = terminal {
            terminal.leave();
        }
        abandoned(&driver);
        // Without this process, the driver's own safeguards end the tasks.
        std::process::exit(130);
    });
    if let Some(after) = options.timeout {
        let (stop, asked) = (stop.clone(), options.asked);
        tokio::spawn(async move {
            stop.clock().sleep(after.saturating_sub(asked.elapsed())).await;
            stop.request(StopReason::TimedOut(after));
        });
    }
    Ok(())
}
