//! The process that outlives `ci` by just long enough to end what it started.
//!
//! ```text
//! ci ── supervisor ─┬─ reaper ── a task's command ── what it starts
//!                   └─ reaper ── …
//! ```
//!
//! The supervisor is the same program, executed anew, so that it is small and has one thread: it
//! may fork without a thought for locks. It does nothing but fork a reaper for each stream socket
//! that the driver sends it. A reaper runs one command at a time and is a child subreaper, so that
//! every process which the command starts stays below it, daemons included, and it ends all of
//! them when the driver says so or is gone.
//!
//! When `ci` dies, however it dies, the kernel closes its sockets. Each reaper then kills what is
//! below it, and the supervisor what is left because somebody killed a reaper. The supervisor and
//! the reapers hold the lock of the run's directory until then, so that the next run does not
//! clean up below processes that still write. When the supervisor is killed, the running tasks go
//! on below their reapers and no further reaper can be made.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork};

use crate::process::{IGNORED, exit};
use crate::wire::{self, Failure, Report};
use crate::{descendants, reaper};

/// The hidden first argument that makes the program a supervisor. The second is the soft limit of
/// open files that tasks get.
pub const SUPERVISOR_ARG: &str = "__native_supervisor";

/// Becomes a supervisor if the program was started as one, and does not return then.
///
/// Call this before anything else in `main`: the process must have a single thread.
pub fn run_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(SUPERVISOR_ARG)) {
        return;
    }
    let nofile = args.next().and_then(|limit| limit.to_str()?.parse().ok());
    let code = match supervise(nofile) {
        Ok(never) => match never {},
        Err(Errno::ESHUTDOWN) => 0,
        Err(_) => 1,
    };
    exit(code)
}

/// Serves until the driver is gone and nothing is left below this process, then returns
/// `ESHUTDOWN`.
fn supervise(nofile: Option<u64>) -> Result<Infallible, Errno> {
    let socket = set_up(nofile)?;
    let mut locks = Vec::new();
    loop {
        let mut kind = [0];
        let mut descriptors = Vec::new();
        let received = wire::receive(socket.as_fd(), &mut kind, &mut descriptors);
        if !matches!(received, Ok(1..)) {
            break;
        }
        match (kind[0], descriptors.pop()) {
            (REAPER, Some(control)) => {
                // SAFETY: this process has had a single thread since it was executed, so the
                // child finds every lock free and may go on like the parent.
                match unsafe { fork() } {
                    Ok(ForkResult::Child) => {
                        drop(socket);
                        reaper::serve(control)
                    }
                    Ok(ForkResult::Parent { .. }) => {}
                    Err(error) => refuse(&control, error),
                }
            }
            (LOCK, Some(lock)) => locks.push(lock),
            _ => {}
        }
    }
    drop(socket);
    end_all();
    // Whoever waits for the locks waits for the end of this process, too.
    std::mem::forget(locks);
    Err(Errno::ESHUTDOWN)
}

/// The messages of the driver to the supervisor: one byte and one descriptor each.
pub const REAPER: u8 = b'r';
pub const LOCK: u8 = b'l';

/// Cuts every tie to what the driver's process inherited. Returns the socket to the driver.
fn set_up(nofile: Option<u64>) -> Result<OwnedFd, Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // An orphan of a killed reaper ends up here; nobody asks how it ends.
    let unattended = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDWAIT, SigSet::empty());
    for signal in Signal::iterator() {
        let action = match signal {
            // The kernel refuses to change these.
            Signal::SIGKILL | Signal::SIGSTOP => continue,
            Signal::SIGCHLD => &unattended,
            signal if IGNORED.contains(&signal) => &ignore,
            _ => &default,
        };
        // SAFETY: no handler is installed, only the dispositions that the kernel provides.
        unsafe { sigaction(signal, action) }?;
    }
    prctl::set_child_subreaper(true)?;
    prctl::set_name(c"ci-supervisor")?;
    // Whoever stopped this process must not keep it from seeing that the driver is gone. The signal also
    // comes when the thread that started this process ends, and then it changes nothing.
    prctl::set_pdeathsig(Signal::SIGCONT)?;
    // A working directory would keep a file system from being unmounted.
    chdir("/")?;

    // Standard input is the socket.
    let raw = fcntl(std::io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(FIRST_OTHER))?;
    // SAFETY: the descriptor was made in the line above.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    drop(null);
    close_others(raw);
    if let Some(soft) = nofile {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?;
    }
    Ok(socket)
}

/// The first descriptor after the standard streams.
const FIRST_OTHER: RawFd = 3;

/// Closes every descriptor but the standard streams and this one. The others were inherited, and
/// somebody may wait for their last copy to be closed.
fn close_others(kept: RawFd) {
    for (first, last) in [(FIRST_OTHER, kept - 1), (kept + 1, RawFd::MAX)] {
        if first <= last {
            // SAFETY: nothing in this process owns a descriptor in these ranges.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Answers in the place of a reaper that could not be made.
fn refuse(control: &OwnedFd, error: Errno) {
    let reason = format!("cannot make another process: {}", std::io::Error::from(error));
    if let Ok(frame) = wire::encoded(&Report::Failed(Failure::Start(reason))) {
        // The driver sees the end of the stream if this fails.
        let _ = wire::send(control.as_fd(), &frame, &[]);
    }
}

/// Kills what is below this process until nothing is left, but for what cannot be killed.
fn end_all() {
    // The reapers see the same end of the driver and are usually gone within this time.
    for pause_us in [0, 100, 200, 400, 800, 1_600, 3_200, 6_400] {
        if no_children() {
            return;
        }
        thread::sleep(Duration::from_micros(pause_us));
    }
    descendants::kill_until(Pid::this(), no_children);
}

fn no_children() -> bool {
    loop {
        match reaper::ended_child() {
            Err(Errno::ECHILD) => return true,
            Err(Errno::EINTR) | Ok(Some(_)) => {}
            _ => return false,
        }
    }
}
