//! The driver's side of the supervisor and its reapers.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::supervisor::{LOCK, REAPER, SUPERVISOR_ARG};
use super::wire::{self, Failure, Inbox, Launch, Order, Report};

/// A running supervisor.
#[derive(Debug)]
pub struct Supervision {
    socket: OwnedFd,
    process: Mutex<Option<Child>>,
    /// Reapers that wait for work.
    idle: Mutex<Vec<Channel>>,
}

/// Reapers that are kept waiting. Each takes some hundred KiB of memory, and a new one costs less
/// than a task.
const MAX_IDLE: usize = 16;

impl Supervision {
    /// Starts a supervisor, without waiting until it can do something. It holds a copy of `lock`
    /// until it and all of its reapers have ended.
    pub fn start(program: Option<&Path>, nofile: u64, lock: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        // Messages wait in the socket until there is somebody to read them.
        wire::send(socket.as_fd(), &[LOCK], &[lock])?;
        let process = Command::new(program.unwrap_or(Path::new("/proc/self/exe")))
            .arg0("ci")
            .args([SUPERVISOR_ARG, &nofile.to_string()])
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the group that Ctrl-C reaches, from its first moment on.
            .process_group(0)
            .spawn()?;
        Ok(Self { socket, process: Mutex::new(Some(process)), idle: Mutex::default() })
    }

    /// Starts a command below a reaper.
    pub async fn launch(
        &self,
        launch: Box<Launch>,
        streams: &[BorrowedFd<'_>],
    ) -> Result<Channel, LaunchError> {
        let order = Order::Launch(launch);
        let mut channel = self.reaper()?;
        while let Err(error) = channel.order(&order, streams).await {
            // Somebody ended a reaper that was waiting for work.
            if !channel.was_idle {
                return Err(error.into());
            }
            channel = self.reaper()?;
        }
        match channel.report().await? {
            Report::Started => Ok(channel),
            Report::Failed(failure) => {
                self.recycle(channel);
                Err(LaunchError::Start(failure))
            }
            Report::Exited(_) | Report::Gone { .. } => {
                Err(io::Error::other("a reaper is out of step").into())
            }
        }
    }

    /// A reaper that is free.
    fn reaper(&self) -> io::Result<Channel> {
        if let Some(idle) = lock(&self.idle).pop() {
            return Ok(Channel { was_idle: true, ..idle });
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        wire::send(self.socket.as_fd(), &[REAPER], &[theirs.as_fd()])
            .map_err(|error| if is_end(&error) { supervisor_ended() } else { error })?;
        ours.set_nonblocking(true)?;
        Ok(Channel {
            stream: UnixStream::from_std(ours)?,
            inbox: Inbox::default(),
            was_idle: false,
        })
    }

    /// Gives a reaper back that has nothing left to do.
    pub fn recycle(&self, channel: Channel) {
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push(channel);
        }
    }

    /// Ends the supervisor with everything below it and waits for that.
    pub fn end(&self) -> io::Result<()> {
        lock(&self.idle).clear();
        shutdown(std::os::fd::AsRawFd::as_raw_fd(&self.socket), Shutdown::Both)?;
        if let Some(mut process) = lock(&self.process).take() {
            process.wait()?;
        }
        Ok(())
    }
}

/// Why a command does not run.
pub enum LaunchError {
    Start(Failure),
    Io(io::Error),
}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether the other side of a socket has gone.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn supervisor_ended() -> io::Error {
    io::Error::other("the process that supervises tasks was ended from outside")
}

/// What a task sees of it when its reaper ends before the task.
pub fn reaper_ended() -> io::Error {
    io::Error::other("the process that watches over the task was ended from outside")
}

/// The connection to one reaper.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    inbox: Inbox,
    /// Whether the reaper has done something before.
    pub was_idle: bool,
}

impl Channel {
    /// Sends an order and what belongs to it.
    pub async fn order(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = wire::encoded(order)?;
        let mut sent = 0;
        while sent < bytes.len() {
            // They go with the first byte.
            let descriptors = if sent == 0 { descriptors } else { &[] };
            let rest = &bytes[sent..];
            let step = || wire::send(self.stream.as_fd(), rest, descriptors);
            sent += self
                .stream
                .async_io(Interest::WRITABLE, step)
                .await
                .map_err(|error| if is_end(&error) { reaper_ended() } else { error })?;
        }
        Ok(())
    }

    /// Ends all that the launch started. A reaper that cannot be reached any more says so by the end of
    /// its reports.
    pub async fn terminate(&self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        _ = self.order(&Order::Terminate { grace_ms }, &[]).await;
    }

    /// The next report. May be dropped and called again without losing one.
    pub async fn report(&mut self) -> io::Result<Report> {
        loop {
            if let Some(report) = self.inbox.take()? {
                return Ok(report);
            }
            let (stream, inbox) = (&self.stream, &mut self.inbox);
            let more = stream
                .async_io(Interest::READABLE, || inbox.fill(stream.as_fd()))
                .await
                .or_else(|error| if is_end(&error) { Ok(false) } else { Err(error) })?;
            if !more {
                return Err(reaper_ended());
            }
        }
    }
}

/// No holder of these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
