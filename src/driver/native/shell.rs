//! A shell where a task has run.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rustix::fs::{Gid, Uid, fchown};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::prepared_task::PreparedTask;
use super::removing::clear;
use super::shared::Shared;
use crate::driver::{DriverError, KeptTask, SHELL, Terminal, WindowSize};
use crate::process::terminal::TerminalFile;
use supervise::wire::{Credentials, Failure, Launch, Report, Stdio};
use supervise::{Channel, LaunchError};

/// What stays of a task.
pub struct Kept {
    /// How the command was started.
    pub launch: Box<Launch>,
    /// Makes the end of a sandbox wait.
    pub _here: TaskTrackerToken,
    /// What was made for the task, once nothing of it is running any more.
    pub prepared: Option<PreparedTask>,
}

/// Where a task that is being run leaves what is to be kept, for whoever has its result.
#[derive(Default)]
pub struct KeptSlot(Mutex<Option<Kept>>);

impl KeptSlot {
    pub fn fill(&self, kept: Kept) {
        *self.lock() = Some(kept);
    }

    pub fn is_filled(&self) -> bool {
        self.lock().is_some()
    }

    /// Adds what was made for the task, or gives it back when nothing is kept any more.
    pub fn leave(&self, prepared: PreparedTask) -> Option<PreparedTask> {
        match &mut *self.lock() {
            Some(kept) => {
                kept.prepared = Some(prepared);
                None
            }
            None => Some(prepared),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        // No holder can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that was kept.
pub struct NativeKept {
    pub shared: Arc<Shared>,
    pub slot: Arc<KeptSlot>,
    pub task: String,
}

#[async_trait]
impl KeptTask for NativeKept {
    async fn shell(&self, terminal: Terminal) -> Result<(), DriverError> {
        let launch = self.slot.lock().as_ref().map(|kept| kept.launch.clone());
        match launch {
            Some(launch) => run(&self.shared, &self.task, launch, terminal).await,
            None => Ok(()),
        }
    }

    async fn discard(self: Box<Self>) {
        let kept = self.slot.lock().take();
        if let Some(Kept { prepared: Some(prepared), .. }) = kept {
            _ = clear(&self.shared, prepared).await;
        }
    }
}

/// Runs a shell to its end.
async fn run(
    shared: &Arc<Shared>,
    task: &str,
    mut launch: Box<Launch>,
    mut terminal: Terminal,
) -> Result<(), DriverError> {
    let failed = |source| {
        let context = format!("cannot run a shell for task `{task}`");
        DriverError::Io { context, source }
    };
    // The end of all tasks waits for the shell's.
    let _here = shared.tasks.token();
    let [shell, args @ ..] = SHELL.map(str::to_owned);
    launch.command = shell.clone();
    launch.args = args.into();
    launch.stdio = Stdio::Terminal;
    launch.env.retain(|pair| !pair.starts_with("TERM="));
    launch.env.push(format!("TERM={}", terminal.kind));
    let (ours, theirs) = pair(*terminal.size.borrow_and_update()).map_err(failed)?;
    if let Some(Credentials { uid, gid, .. }) = launch.credentials {
        // Programs find it by its name, too, and open it anew.
        fchown(&theirs, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|error| failed(error.into()))?;
    }
    let streams = [theirs.as_fd()];
    let launched = tokio::select! {
        biased;
        () = terminal.gone.cancelled() => return Ok(()),
        () = shared.closing.cancelled() => return Ok(()),
        launched = shared.supervision.launch(launch, &streams) => launched,
    };
    let mut channel = match launched {
        Ok(channel) => channel,
        Err(LaunchError::Start(Failure::Start(reason) | Failure::NoMounts(reason))) => {
            return Err(DriverError::CannotStart { command: shell, reason });
        }
        Err(LaunchError::Io(source)) => return Err(failed(source)),
    };
    // The end of the other side shows when no copy of it is left.
    drop(theirs);
    let user_gone = terminal.gone.clone();
    terminal.opened.cancel();
    let ended = tokio::select! {
        biased;
        ended = ended(&mut channel) => ended,
        () = relay(&ours, &mut terminal) => Ok(false),
        () = user_gone.cancelled() => Ok(false),
        () = shared.closing.cancelled() => Ok(false),
    };
    if ended.is_ok() {
        drain(&ours, &terminal).await;
    }
    // Hangs up on what still uses it.
    drop(ours);
    let gone = match ended {
        Ok(true) => Ok(0),
        Ok(false) => shared.supervision.end_launch(&mut channel, shared.grace()).await,
        Err(error) => Err(error),
    };
    match gone.map_err(failed)? {
        0 => shared.supervision.recycle(channel),
        left => shared
            .notify(format!("{left} processes of the shell for task `{task}` could not be ended")),
    }
    Ok(())
}

/// Waits for the end of the shell. Returns whether nothing of what it started is left either.
async fn ended(channel: &mut Channel) -> io::Result<bool> {
    loop {
        match channel.report().await? {
            Report::Exited(_) => return Ok(false),
            Report::Gone { left } => return Ok(left == 0),
            Report::Started { .. } | Report::Failed(_) => {}
        }
    }
}

/// Both sides of a new terminal. Ours does not block.
fn pair(size: WindowSize) -> io::Result<(TerminalFile, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let ours = TerminalFile::new(File::from(ours))?;
    ours.resize(size)?;
    Ok((ours, theirs))
}

/// Connects both terminals until the input has ended.
async fn relay(ours: &TerminalFile, Terminal { input, output, size, .. }: &mut Terminal) {
    let feed = async {
        while let Some(bytes) = input.recv().await {
            // Nobody may have it open to read from it at this moment.
            _ = ours.write(&bytes).await;
        }
    };
    let show = async {
        // Nothing is read that could not be passed on: this may end at any moment.
        while let Ok(place) = output.reserve().await {
            let Ok(bytes) = ours.read().await else { break };
            place.send(bytes);
        }
        // Its end is for the shell to tell.
        std::future::pending::<()>().await;
    };
    let sizes = async {
        while size.changed().await.is_ok() {
            let now = *size.borrow_and_update();
            // A size that is wrong is no reason to end.
            _ = ours.resize(now);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = feed => {}
        () = show => {}
        () = sizes => {}
    }
}

/// Shows what is there already.
async fn drain(ours: &TerminalFile, terminal: &Terminal) {
    // More than the kernel keeps for a terminal, for what a process in the background adds has no end.
    for _ in 0..64 {
        let Ok(bytes) = ours.read_now() else { break };
        tokio::select! {
            biased;
            () = terminal.gone.cancelled() => break,
            sent = terminal.output.send(bytes) => if sent.is_err() {
                break;
            }
        }
    }
}
