//! The process between the supervisor and one task at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::launch::Launcher;
use crate::process::exit;
use crate::wire::{self, Exit, Failure, Fixture, Inbox, Launch, Order, ProcessId, Report, Stdio};
use crate::{descendants, fixtures};

/// Carries out the orders that come through `control`, one launch after the other, until its other
/// end is closed.
pub fn serve(control: OwnedFd) -> ! {
    let code = match Reaper::new(control).and_then(|mut reaper| reaper.serve_to_the_end()) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    exit(code)
}

struct Reaper {
    control: OwnedFd,
    id: ProcessId,
    inbox: Inbox,
    /// Readable when a child has ended.
    ended: SignalFd,
    launcher: Launcher,
    /// What was made for the last launch, which a driver that lives has removed when the next one begins.
    made: Vec<Fixture>,
}

/// The one launch that is going on.
struct Task {
    /// The command, as long as nobody has waited for it: its id and its group are its own until
    /// then.
    main: Option<Pid>,
    /// When to look for processes that left the command's group, after it was asked to end.
    look: Option<Instant>,
    /// When to kill everything.
    deadline: Option<Instant>,
}

/// How long a task whose command was asked to end may take before a walk through `/proc` looks
/// for processes that were not in its group. Most tasks have none and are gone by then.
const BEFORE_LOOKING: Duration = Duration::from_millis(10);

impl Reaper {
    fn new(control: OwnedFd) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        prctl::set_name(descendants::REAPER_NAME)?;
        // A stopped reaper would not see that nobody is left to serve.
        prctl::set_pdeathsig(Signal::SIGCONT)?;
        let mut child = SigSet::empty();
        child.add(Signal::SIGCHLD);
        child.thread_block()?;
        // The supervisor discards how its children end.
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let ended = SignalFd::with_flags(&child, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let id = descendants::own().ok_or_else(|| io::Error::other("`/proc` is not mounted"))?;
        Ok(Self {
            control,
            id,
            inbox: Inbox::default(),
            ended,
            launcher: Launcher::new(),
            made: Vec::new(),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            match self.inbox.take()? {
                Some(Order::Launch(launch)) => {
                    self.made.clone_from(&launch.fixtures);
                    self.launch(&launch)?;
                    // The driver lives, and removes it itself.
                    self.made.clear();
                }
                // It crossed the message that the task is gone.
                Some(Order::Terminate { .. }) => {}
                None => {
                    if !self.inbox.fill(self.control.as_fd())? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Carries out orders to their end, and removes what the driver can remove no more: it is gone then.
    fn serve_to_the_end(&mut self) -> io::Result<()> {
        let ended = self.serve();
        let made = std::mem::take(&mut self.made);
        if !made.is_empty() && descendants::kill_until(Pid::this(), || reap(&mut None).1) == 0 {
            fixtures::remove(&made);
        }
        ended
    }

    fn launch(&mut self, launch: &Launch) -> io::Result<()> {
        let arrived = std::mem::take(&mut self.inbox.descriptors);
        let streams = match (launch.stdio, &arrived[..]) {
            (Stdio::Pipes, [stdout, stderr]) => [None, Some(stdout), Some(stderr)],
            (Stdio::PipesWithStdin, [stdin, stdout, stderr]) => {
                [Some(stdin), Some(stdout), Some(stderr)]
            }
            (Stdio::Terminal, [terminal]) => [Some(terminal); 3],
            _ => {
                let reason =
                    "the task's streams did not arrive, is the limit of open files too low?";
                return self.report(&[Report::Failed(Failure::Start(reason.into()))]);
            }
        };
        // A launch that was given up must not begin late, when somebody lets this process go on.
        if self.is_abandoned() {
            return Err(Errno::EPIPE.into());
        }
        let streams = streams.map(|stream| stream.map(AsFd::as_fd));
        let started = self.launcher.start(launch, streams);
        // The driver sees the end of the output only when no copy is left.
        drop(arrived);
        match started {
            Ok(main) => {
                let reported = self.report(&[Report::Started { reaper: self.id }]);
                let mut task = Task { main: Some(main), look: None, deadline: None };
                if let Err(error) = reported {
                    self.kill(&mut task);
                    return Err(error);
                }
                self.attend(task)
            }
            Err(failure) => self.report(&[Report::Failed(failure)]),
        }
    }

    /// Whether the other end of the channel is closed.
    fn is_abandoned(&self) -> bool {
        let mut descriptors = [PollFd::new(self.control.as_fd(), PollFlags::empty())];
        let polled = poll(&mut descriptors, PollTimeout::ZERO);
        let events = descriptors[0].revents().unwrap_or(PollFlags::empty());
        polled.is_ok() && events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
    }

    /// Stays with a task until nothing of it is left.
    fn attend(&mut self, mut task: Task) -> io::Result<()> {
        loop {
            let (child, order) = self.wait(task.next_step())?;
            if child && self.collect(&mut task)? {
                return Ok(());
            }
            if order {
                if !self.inbox.fill(self.control.as_fd()).unwrap_or(false) {
                    self.kill(&mut task);
                    return Err(Errno::EPIPE.into());
                }
                while let Some(order) = self.inbox.take()? {
                    if let Order::Terminate { grace_ms } = order {
                        task.terminate(Duration::from_millis(grace_ms));
                    }
                }
            }
            let now = Instant::now();
            if task.deadline.is_some_and(|at| at <= now) {
                let left = self.kill(&mut task);
                self.report(&[Report::Gone { left }])?;
                return if left == 0 { Ok(()) } else { Err(Errno::EPERM.into()) };
            }
            if task.look.is_some_and(|at| at <= now) {
                task.look = None;
                descendants::terminate(Pid::this(), task.main);
            }
        }
    }

    /// Waits for the end of a child or for an order, or until that time.
    fn wait(&self, until: Option<Instant>) -> io::Result<(bool, bool)> {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(at) => {
                // Rounded up, so as not to wake just before.
                let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut descriptors = [
            PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [child, order] = descriptors.map(|descriptor| descriptor.any().unwrap_or(false));
        if child {
            // Before the children are collected, or the end of a further one could be missed.
            self.ended.read_signal()?;
        }
        Ok((child, order))
    }

    /// Waits for the children that have ended, reports what there is to say, and returns whether
    /// none is left.
    fn collect(&self, task: &mut Task) -> io::Result<bool> {
        let (exit, gone) = reap(&mut task.main);
        let exited = exit.map(Report::Exited);
        let gone = gone.then_some(Report::Gone { left: 0 });
        let done = gone.is_some();
        let reports: Vec<Report> = exited.into_iter().chain(gone).collect();
        if !reports.is_empty() {
            self.report(&reports)?;
        }
        Ok(done)
    }

    /// Kills everything below this process. Returns how many could not be killed.
    fn kill(&self, task: &mut Task) -> usize {
        let mut exit = None;
        let mut gone = |main: &mut Option<Pid>| {
            let (found, gone) = reap(main);
            exit = exit.or(found);
            gone
        };
        // Most tasks are one group, which spares the walk through `/proc`.
        if let Some(main) = task.main
            && descendants::kill_group(main).is_ok()
        {
            let start = Instant::now();
            while start.elapsed() < BEFORE_LOOKING {
                let soon = Some(start + BEFORE_LOOKING);
                if gone(&mut task.main) {
                    return self.report_exit(exit, 0);
                }
                if self.wait_for_child(soon).is_err() {
                    break;
                }
            }
        }
        let left = descendants::kill_until(Pid::this(), || gone(&mut task.main));
        self.report_exit(exit, left)
    }

    fn wait_for_child(&self, until: Option<Instant>) -> io::Result<()> {
        let left = until.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let timeout =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, timeout)?;
        self.ended.read_signal()?;
        Ok(())
    }

    fn report_exit(&self, exit: Option<Exit>, left: usize) -> usize {
        if let Some(exit) = exit {
            // The driver may be gone, which is one reason for all this.
            let _ = self.report(&[Report::Exited(exit)]);
        }
        left
    }

    fn report(&self, reports: &[Report]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for report in reports {
            bytes.extend(wire::encoded(report)?);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[wire::send(self.control.as_fd(), rest, &[])?..];
        }
        Ok(())
    }
}

impl Task {
    fn next_step(&self) -> Option<Instant> {
        [self.look, self.deadline].into_iter().flatten().min()
    }

    fn terminate(&mut self, grace: Duration) {
        let now = Instant::now();
        let asked_before = self.deadline.is_some();
        // A second order may only shorten the time.
        let deadline = now + grace;
        self.deadline = Some(self.deadline.map_or(deadline, |before| before.min(deadline)));
        if asked_before || grace.is_zero() {
            return;
        }
        match self.main {
            Some(main) => {
                descendants::ask(Pid::from_raw(-main.as_raw()));
                self.look = Some(now + BEFORE_LOOKING);
            }
            None => self.look = Some(now),
        }
    }
}

/// Waits for every child that has ended. Returns how `main` ended, if it did now, and whether no
/// child is left.
fn reap(main: &mut Option<Pid>) -> (Option<Exit>, bool) {
    let mut exit = None;
    loop {
        let (pid, how) = match ended_child() {
            Ok(Some(ended)) => ended,
            Err(Errno::ECHILD) => return (exit, true),
            Err(Errno::EINTR) => continue,
            _ => return (exit, false),
        };
        if *main == Some(pid) {
            *main = None;
            exit = Some(how);
        }
    }
}

/// A child that has ended, and how. Signals may be real-time ones, for which `nix` has no names.
pub fn ended_child() -> nix::Result<Option<(Pid, Exit)>> {
    let mut status = 0;
    // SAFETY: `waitpid` writes one `int`, to one that lives until the call returns.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) })?;
    if pid == 0 {
        return Ok(None);
    }
    let how = if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    };
    Ok(Some((Pid::from_raw(pid), how)))
}
