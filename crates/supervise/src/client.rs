//! The driver's side of the supervisor and its reapers.
//!
//! Anybody may stop a supervisor or a reaper with SIGSTOP. A stopped reaper ends nothing and reports nothing.
//! So the client looks at the reaper's state ([`Deadline`]): when a launch takes longer than a second, every
//! ten seconds while a task runs, and all the time while a task has to end. It sends SIGCONT. If the reaper
//! is still stopped after the grace period, it kills what is below the reaper, and the reaper. A supervisor
//! or reaper that is stopped when `ci` dies gets SIGCONT as its parent-death signal.
//!
//! If the supervisor dies, commands have a parent-death signal. What a killed reaper leaves behind becomes a
//! child of `ci`, which is a child subreaper too and recognises it by `TMPDIR`.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::time::{sleep, sleep_until};

use crate::descendants;
use crate::supervisor::{LOCK, REAPER, SUPERVISOR_ARG};
use crate::wire::{self, Failure, Inbox, Launch, Order, ProcessId, Report};

/// A running supervisor.
#[derive(Debug)]
pub struct Supervision {
    socket: AsyncFd<OwnedFd>,
    pid: Pid,
    process: Mutex<Option<Child>>,
    /// Reapers that wait for work.
    idle: Mutex<Vec<Channel>>,
}

/// Reapers that are kept waiting. Each takes some hundred KiB of memory, and a new one costs less
/// than a task.
const MAX_IDLE: usize = 16;

/// How long a launch may take before this looks whether somebody has stopped a process that it needs.
const LOOK: Duration = Duration::from_secs(1);

impl Supervision {
    /// Starts a supervisor for the run whose directory is `run`, without waiting until it can do
    /// something. It holds a copy of `lock` until it and all of its reapers have ended.
    pub fn start(
        program: Option<&Path>,
        nofile: u64,
        run: &Path,
        lock: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        // Messages wait in the socket until there is somebody to read them. When too many wait, because
        // somebody has stopped the supervisor, a thread of this process must not.
        wire::send(socket.as_fd(), &[LOCK], &[lock])?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let mut command = Command::new(program.unwrap_or(Path::new("/proc/self/exe")));
        command
            .arg0("ci")
            .args([SUPERVISOR_ARG, &nofile.to_string()])
            // Its memory and that of the reapers show what this process has been told in secret.
            .env_clear()
            // Tells whose it is, and whose its reapers are.
            .env("TMPDIR", run)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the group that Ctrl-C reaches, from its first moment on.
            .process_group(0);
        for name in KEPT_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // What a killed supervisor leaves is this process's then, and not beyond reach.
        nix::sys::prctl::set_child_subreaper(true)?;
        let process = command.spawn()?;
        // SAFETY: an `OwnedFd` has one number for its whole life, and stays open until it is dropped,
        // which is after the end of its registration.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::WRITABLE) };
        Ok(Self {
            socket: socket.map_err(|error| error.into_parts().1)?,
            pid: Pid::from_raw(process.id().cast_signed()),
            process: Mutex::new(Some(process)),
            idle: Mutex::default(),
        })
    }

    /// Starts a command below a reaper.
    ///
    /// Dropping the future takes the launch back: a reaper whose channel is closed ends what it has
    /// started.
    pub async fn launch(
        &self,
        launch: Box<Launch>,
        streams: &[BorrowedFd<'_>],
    ) -> Result<Channel, LaunchError> {
        let order = wire::encoded(&Order::Launch(launch))?;
        let mut launched = pin!(self.order(&order, streams));
        loop {
            tokio::select! {
                biased;
                launched = &mut launched => return launched,
                () = sleep(LOOK) => self.wake_all(),
            }
        }
    }

    async fn order(
        &self,
        order: &[u8],
        streams: &[BorrowedFd<'_>],
    ) -> Result<Channel, LaunchError> {
        let mut channel = self.reaper().await?;
        while let Err(error) = channel.send(order, streams).await {
            // Somebody ended a reaper that was waiting for work.
            if !channel.was_idle {
                return Err(error.into());
            }
            channel = self.reaper().await?;
        }
        match channel.report().await? {
            Report::Started { reaper } => {
                channel.reaper = Some(reaper);
                Ok(channel)
            }
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
    async fn reaper(&self) -> io::Result<Channel> {
        if let Some(idle) = lock(&self.idle).pop() {
            return Ok(Channel { was_idle: true, ..idle });
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let send = |socket: &OwnedFd| wire::send(socket.as_fd(), &[REAPER], &[theirs.as_fd()]);
        self.socket
            .async_io(Interest::WRITABLE, send)
            .await
            .map_err(|error| if is_end(&error) { supervisor_ended() } else { error })?;
        ours.set_nonblocking(true)?;
        Ok(Channel {
            stream: UnixStream::from_std(ours)?,
            inbox: Inbox::default(),
            reaper: None,
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

    /// Ends all that a launch started, and returns how many processes could not be ended.
    pub async fn end_launch(&self, channel: &mut Channel, grace: Duration) -> io::Result<usize> {
        let mut deadline = Deadline::default();
        channel.terminate(grace).await;
        deadline.begin(grace);
        loop {
            tokio::select! {
                biased;
                report = channel.report() => {
                    if let Report::Gone { left } = report? {
                        return Ok(left);
                    }
                }
                () = deadline.due() => if deadline.pursue(self, channel) == Pursuit::GivenUp {
                    return Ok(1);
                },
            }
        }
    }

    /// Lets the supervisor go on, and the reaper of a channel, if somebody has stopped them: neither
    /// ever stops on purpose, and what is stopped neither ends a task nor reports its end.
    fn wake(&self, channel: &Channel) {
        self.wake_supervisor();
        if let Some(reaper) = channel.reaper.and_then(descendants::again) {
            descendants::wake(reaper);
        }
    }

    /// The same for all reapers, and for what is about to execute a command below them.
    fn wake_all(&self) {
        self.wake_supervisor();
        let reapers = |parent| {
            // A command may well have stopped itself.
            descendants::children_of(parent).into_iter().filter(|child| child.is_reaper())
        };
        for reaper in reapers(self.pid) {
            descendants::wake(reaper);
            reapers(reaper.pid).for_each(descendants::wake);
        }
    }

    fn wake_supervisor(&self) {
        // Its number is its own until this process has asked how it ended.
        let process = lock(&self.process);
        if let Some(supervisor) = process.as_ref().and_then(|_| descendants::find(self.pid)) {
            descendants::wake(supervisor);
        }
    }

    /// Ends the supervisor with everything below it and waits for that. If somebody has killed it, also ends
    /// what it has left: processes whose temporary files are below `run`, reapers among them.
    pub fn end(&self, run: &Path) -> io::Result<()> {
        let result = self.end_supervisor();
        if let Ok(true) = result {
            return Ok(());
        }
        let start = Instant::now();
        // A look may miss a process that comes to this one at that moment, so one is not enough.
        let mut looks_without = 0;
        loop {
            let mut left = descendants::children_of(Pid::this());
            left.retain(|child| child.is_alive());
            // Whose it is cannot be told any more, and nothing has to be done but to wait.
            let is_exiting = left.iter().any(|child| child.is_exiting());
            left.retain(|child| child.has_files_below(run));
            looks_without = if left.is_empty() && !is_exiting { looks_without + 1 } else { 0 };
            if looks_without == 2 || start.elapsed() > descendants::PERSISTENCE {
                return result.map(drop);
            }
            for child in left {
                // What is below it comes to this process when it ends.
                _ = kill(child.pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns whether the supervisor has ended by itself, which it does when nothing is left below it.
    fn end_supervisor(&self) -> io::Result<bool> {
        lock(&self.idle).clear();
        shutdown(self.socket.as_raw_fd(), Shutdown::Both)?;
        let Some(mut process) = lock(&self.process).take() else { return Ok(true) };
        let watch = pidfd_open(self.pid);
        let start = Instant::now();
        loop {
            if let Some(status) = process.try_wait()? {
                return Ok(status.success());
            }
            let is_stopped = descendants::find(self.pid).is_some_and(|found| {
                descendants::wake(found);
                found.is_stopped()
            });
            // It takes its time over processes that cannot be killed.
            let patience = if is_stopped { FREEZE } else { 2 * descendants::PERSISTENCE };
            if start.elapsed() > patience {
                descendants::kill_below(self.pid);
                process.kill()?;
                return Ok(process.wait()?.success());
            }
            wait_for_end(watch.as_ref().ok(), Duration::from_millis(100));
        }
    }
}

/// Variables that the program may need to start again: where its libraries are.
const KEPT_VARIABLES: [&str; 1] = ["LD_LIBRARY_PATH"];

/// A descriptor that is readable when a process of this one's has ended.
fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

fn wait_for_end(process: Option<&OwnedFd>, timeout: Duration) {
    let Some(process) = process else { return std::thread::sleep(Duration::from_millis(1)) };
    let mut descriptors = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    // Interrupted or not, the caller looks again.
    let _ = poll(&mut descriptors, timeout);
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
    /// Known when it has started something.
    pub reaper: Option<ProcessId>,
    /// Whether the reaper has done something before.
    was_idle: bool,
}

impl Channel {
    async fn order(&self, order: &Order) -> io::Result<()> {
        self.send(&wire::encoded(order)?, &[]).await
    }

    /// Sends a message and what belongs to it.
    async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
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
        _ = self.order(&Order::Terminate { grace_ms }).await;
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

/// When a reaper has to have ended what it was told to end, and what happens if it has not.
///
/// Anybody may stop a process, freeze it or attach a debugger to it. A run must end all the same.
#[derive(Debug)]
pub struct Deadline {
    /// When to look at the reaper next.
    next: tokio::time::Instant,
    pause: Duration,
    /// When the task has to be gone.
    at: Option<Instant>,
    /// When this process took over.
    forced: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pursuit {
    Waiting,
    /// Nothing helps: what is left belongs to another user, or is stuck in the kernel.
    GivenUp,
}

/// How often to look at the reaper of a task that goes on.
const LOOK_AT_RUNNING: Duration = Duration::from_secs(10);

/// How long a reaper may stay stopped after its deadline, however often it is told to go on.
const FREEZE: Duration = Duration::from_secs(1);

impl Default for Deadline {
    fn default() -> Self {
        Self {
            next: tokio::time::Instant::now() + LOOK_AT_RUNNING,
            pause: LOOK_AT_RUNNING,
            at: None,
            forced: None,
        }
    }
}

impl Deadline {
    /// Starts the time in which the reaper has to end its task. The shortest one counts.
    pub fn begin(&mut self, grace: Duration) {
        let now = Instant::now();
        // A grace period beyond all clocks has no end that could be missed.
        let Some(at) = now.checked_add(grace) else { return };
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
        self.pause = Duration::from_millis(20);
        self.next = now.into();
    }

    /// Waits until it is time to [`pursue`](Self::pursue) the task.
    pub async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Lets a reaper go on that was stopped, and ends in its place what it does not end in time.
    pub fn pursue(&mut self, supervision: &Supervision, channel: &Channel) -> Pursuit {
        let now = Instant::now();
        let longest = if self.at.is_some() { Duration::from_secs(1) } else { LOOK_AT_RUNNING };
        self.pause = (self.pause * 2).min(longest);
        self.next = (now + self.pause).into();
        if self.forced.is_some_and(|forced| now > forced + descendants::PERSISTENCE) {
            return Pursuit::GivenUp;
        }
        let reaper = channel.reaper.and_then(descendants::again);
        let patience = match reaper {
            Some(reaper) if reaper.is_stopped() => FREEZE,
            // It says itself what it cannot end.
            _ => 2 * descendants::PERSISTENCE,
        };
        supervision.wake(channel);
        if self.at.is_some_and(|at| now > at + patience) && self.forced.is_none() {
            self.forced = Some(now);
            if let Some(reaper) = reaper {
                // Not on this thread, which other tasks need.
                let work = move || {
                    descendants::kill_below(reaper.pid);
                    _ = kill(reaper.pid, Signal::SIGKILL);
                };
                let thread = std::thread::Builder::new().name("end-task".into()).spawn(work);
                if thread.is_err() {
                    // Its command goes with it, and the supervisor ends the rest when the run does.
                    _ = kill(reaper.pid, Signal::SIGKILL);
                }
            }
        }
        Pursuit::Waiting
    }

    /// Whether this process had to end the task itself.
    pub fn is_forced(&self) -> bool {
        self.forced.is_some()
    }
}

/// No holder of these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
