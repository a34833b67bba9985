//! The terminal that `ci` was started from.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::driver::Terminal;
use crate::process::terminal::TerminalFile;

/// A terminal with somebody in front of it.
pub struct UserTerminal {
    /// Opened for this alone, so that reading from it need not block.
    tty: File,
    /// How the terminal was before a program took it over.
    before: Mutex<Option<Termios>>,
}

/// Gives the terminal back when it is dropped.
struct Taken<'a>(&'a UserTerminal);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl UserTerminal {
    /// Fails if nobody is there who could type.
    pub fn find() -> io::Result<Self> {
        if !io::stdin().is_terminal() {
            return Err(io::Error::other("the standard input is no terminal"));
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let tty = File::options().read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        Ok(Self { tty, before: Mutex::default() })
    }

    /// Hands the terminal over, from when `work` says so to its end. The input ends early if `over` fires.
    pub async fn show<F: Future>(
        &self,
        greeting: &str,
        over: &CancellationToken,
        work: impl FnOnce(Terminal) -> F,
    ) -> io::Result<F::Output> {
        let tty = TerminalFile::new(self.tty.try_clone()?)?;
        let mut resized = signal(SignalKind::window_change())?;
        let gone = over.child_token();
        tokio::select! {
            written = tty.write(greeting.as_bytes()) => written?,
            () = gone.cancelled() => {}
        }
        let (typed, input) = mpsc::channel(8);
        let (output, mut shown) = mpsc::channel::<Vec<u8>>(8);
        let (sizes, size) = watch::channel(tty.size());
        // The terminal's own name, if it has none, is one that all programs can do with.
        let kind = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        let opened = CancellationToken::new();
        let (mut taken, mut usable) = (None, Ok(()));
        let work = work(Terminal {
            input,
            output,
            size,
            gone: gone.clone(),
            kind,
            opened: opened.clone(),
        });
        let feed = async {
            let read = async {
                opened.cancelled().await;
                match self.take() {
                    Ok(guard) => {
                        taken = Some(guard);
                        feed(&tty, typed).await;
                    }
                    Err(error) => usable = Err(error),
                }
            };
            tokio::select! {
                () = read => {}
                () = over.cancelled() => {}
            }
            gone.cancel();
            std::future::pending::<()>().await;
        };
        let resize = async {
            while resized.recv().await.is_some() {
                sizes.send_replace(tty.size());
            }
            std::future::pending::<()>().await;
        };
        let show = async {
            let mut last = b'\n';
            while let Some(bytes) = shown.recv().await {
                last = bytes.last().copied().unwrap_or(last);
                // The end of a run does not depend on who looks.
                tokio::select! {
                    _ = tty.write(&bytes) => {}
                    () = gone.cancelled() => {}
                }
            }
            if last != b'\n' && !gone.is_cancelled() {
                _ = tty.write(b"\r\n").await;
            }
        };
        let done = tokio::select! {
            (done, ()) = async { tokio::join!(work, show) } => done,
            () = feed => unreachable!("it goes on for ever"),
            () = resize => unreachable!("it goes on for ever"),
        };
        usable.map(|()| done)
    }

    /// Makes the terminal pass on every key as it is.
    fn take(&self) -> io::Result<Taken<'_>> {
        let now = tcgetattr(&self.tty)?;
        let mut raw = now.clone();
        raw.make_raw();
        *self.before() = Some(now);
        let taken = Taken(self);
        tcsetattr(&self.tty, OptionalActions::Now, &raw)?;
        Ok(taken)
    }

    /// Makes the terminal what it was before it was taken over.
    pub fn leave(&self) {
        if let Some(before) = self.before().take() {
            _ = tcsetattr(&self.tty, OptionalActions::Now, &before);
        }
    }

    fn before(&self) -> MutexGuard<'_, Option<Termios>> {
        // No holder can panic.
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what is typed until nobody takes it or the terminal is gone.
async fn feed(tty: &TerminalFile, typed: mpsc::Sender<Vec<u8>>) {
    while let Ok(bytes) = tty.read().await {
        if typed.send(bytes).await.is_err() {
            return;
        }
    }
}
