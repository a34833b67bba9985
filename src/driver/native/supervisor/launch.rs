//! From a reaper to a running command.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, chdir, execve, fork, getppid, pipe2, setsid};

use super::{IGNORED, mount};
use crate::driver::native::wire::{Credentials, Failure, Launch, Stdio};

/// Starts commands, again and again.
pub struct Launcher {
    /// What a new process runs on until it executes the command.
    stack: Vec<u8>,
}

const STACK_BYTES: usize = 256 << 10;

/// Longest explanation that a new process hands over, so that it never has to wait for a reader.
const MAX_REASON: usize = 2048;

impl Launcher {
    pub fn new() -> Self {
        Self { stack: vec![0; STACK_BYTES] }
    }

    /// Returns when the command executes, or with why it does not.
    pub fn start(
        &mut self,
        launch: &Launch,
        streams: [Option<BorrowedFd<'_>>; 3],
    ) -> Result<Pid, Failure> {
        let image = Image::new(launch)?;
        let failed = |what: &str, error: Errno| Failure::Start(format!("{what}: {}", text(error)));
        let (reader, writer) =
            pipe2(OFlag::O_CLOEXEC).map_err(|error| failed("cannot make a pipe", error))?;
        let parent = Pid::this();
        let run = |writer: &OwnedFd| -> ! {
            let failure = match begin(launch, &image, parent, streams) {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            let _ = File::from(writer.try_clone().unwrap_or_else(|_| super::exit(127)))
                .write_all(&packed(failure));
            super::exit(127)
        };
        let child = if launch.binds.is_empty() {
            let body = Box::new(|| run(&writer));
            // The child borrows this process's memory, which is much faster than a copy.
            let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
            // SAFETY: with CLONE_VFORK this process, whose only thread this is, waits until the
            // child executes the command or exits, so the two never use the memory at the same
            // time, and everything that the closure borrows outlives the child's use of it. The
            // stack is large enough for `begin`, which does not recurse. What the child changes
            // in the shared memory are allocations, valid in both.
            unsafe { clone(body, &mut self.stack, flags, Some(libc::SIGCHLD)) }
        } else {
            // SAFETY: this process has a single thread, so the child finds every lock free.
            match unsafe { fork() } {
                // A user namespace can only be entered by a process with a memory of its own.
                Ok(ForkResult::Child) => run(&writer),
                Ok(ForkResult::Parent { child }) => Ok(child),
                Err(error) => Err(error),
            }
        };
        drop(writer);
        let child = child.map_err(|error| failed("cannot make another process", error))?;
        let mut failure = Vec::new();
        if let Err(error) = File::from(reader).read_to_end(&mut failure) {
            failure = packed(Failure::Start(error.to_string()));
        }
        match unpacked(&failure) {
            None => Ok(child),
            Some(failure) => {
                // It is about to exit, and must not be taken for a child of the next launch.
                while waitpid(child, None) == Err(Errno::EINTR) {}
                Err(failure)
            }
        }
    }
}

fn packed(failure: Failure) -> Vec<u8> {
    let (kind, mut reason) = match failure {
        Failure::NoMounts(reason) => (b'm', reason),
        Failure::Start(reason) => (b's', reason),
    };
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    let mut bytes = vec![kind];
    bytes.append(&mut reason.into_bytes());
    bytes
}

fn unpacked(bytes: &[u8]) -> Option<Failure> {
    let (kind, reason) = bytes.split_first()?;
    let reason = String::from_utf8_lossy(reason).into_owned();
    Some(if *kind == b'm' { Failure::NoMounts(reason) } else { Failure::Start(reason) })
}

fn text(error: Errno) -> String {
    error.desc().to_lowercase()
}

/// A launch in the form that the kernel takes.
struct Image {
    /// What may be the command's file, in the order of trying.
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
    directory: CString,
}

impl Image {
    fn new(launch: &Launch) -> Result<Self, Failure> {
        let c = |text: &str| {
            CString::new(text)
                .map_err(|_| Failure::Start("an argument or a variable contains a NUL byte".into()))
        };
        let candidates = if launch.command.contains('/') {
            vec![c(&launch.command)?]
        } else {
            directories(&launch.search)
                .map(|directory| c(&format!("{directory}/{}", launch.command)))
                .collect::<Result<_, _>>()?
        };
        let words = std::iter::once(&launch.command).chain(&launch.args);
        Ok(Self {
            candidates,
            args: words.map(|word| c(word)).collect::<Result<_, _>>()?,
            env: launch.env.iter().map(|pair| c(pair)).collect::<Result<_, _>>()?,
            directory: c(&launch.directory)?,
        })
    }
}

/// The entries of a `PATH`. An empty one is the working directory.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    path.split(':').map(|directory| if directory.is_empty() { "." } else { directory })
}

/// Turns the new process into the command.
fn begin(
    launch: &Launch,
    image: &Image,
    parent: Pid,
    streams: [Option<BorrowedFd<'_>>; 3],
) -> Result<std::convert::Infallible, Failure> {
    let failed = |what: &str, error: Errno| Failure::Start(format!("{what}: {}", text(error)));

    // A session and a process group of its own, without a terminal.
    setsid().map_err(|error| failed("cannot make a session", error))?;
    for ignored in IGNORED {
        // SAFETY: no handler is installed.
        let _ = unsafe { signal(ignored, SigHandler::SigDfl) };
    }
    let _ = SigSet::empty().thread_set_mask();
    // Without bytes for it, stdin stays what the supervisor has: `/dev/null`.
    for (descriptor, number) in streams.into_iter().zip(0..) {
        if let Some(descriptor) = descriptor {
            // SAFETY: the numbers 0 to 2 are this process's standard streams, which nothing in it
            // uses otherwise.
            let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
            Errno::result(result).map_err(|error| failed("cannot connect a stream", error))?;
        }
    }
    if let (Stdio::Terminal, Some(terminal)) = (launch.stdio, streams[0]) {
        rustix::process::ioctl_tiocsctty(terminal).map_err(|error| {
            failed("cannot use the terminal", Errno::from_raw(error.raw_os_error()))
        })?;
    }
    if !launch.binds.is_empty() {
        mount::enter(&launch.mounts_at, &launch.binds)?;
    }
    if let Some(credentials) = &launch.credentials {
        become_user(credentials).map_err(|error| failed("cannot become the user", error))?;
    }
    chdir(image.directory.as_c_str()).map_err(|error| {
        failed(&format!("cannot enter the working directory `{}`", launch.directory), error)
    })?;
    // After the change of user, which would undo it.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    if getppid() != parent {
        // The reaper died before that.
        super::exit(127);
    }
    Err(Failure::Start(execute(launch, image)))
}

fn become_user(credentials: &Credentials) -> Result<(), Errno> {
    let Credentials { uid, gid, groups } = credentials;
    // The C library's functions would tell the process's other threads, of which it may believe
    // to have those of the reaper, whose memory this is.
    // SAFETY: the kernel reads `groups.len()` ids from a list of that many.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: these calls take plain numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) })?;
    // SAFETY: as above.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) })?;
    Ok(())
}

/// Executes the first candidate that there is. Returns why that failed.
fn execute(launch: &Launch, image: &Image) -> String {
    let mut best: Option<(&CString, Errno)> = None;
    for candidate in &image.candidates {
        let Err(error) = execve(candidate, &image.args, &image.env);
        match error {
            // As execvp(3) does: an entry that is not there or not accessible is no reason to
            // stop looking, but a file that was found is what to report.
            Errno::ENOENT | Errno::ENOTDIR if !exists(candidate) => {}
            Errno::EACCES => best = best.or(Some((candidate, error))),
            _ => {
                best = Some((candidate, error));
                break;
            }
        }
    }
    let by_path = launch.command.contains('/');
    match best {
        Some((file, error)) => {
            let file = file.to_string_lossy();
            let why = explained(Path::new(&*file), error);
            if by_path { why } else { format!("`{file}` {why}") }
        }
        None if by_path && launch.command.starts_with('/') => "there is no such file".into(),
        None if by_path => {
            format!("there is no such file in the working directory `{}`", launch.directory)
        }
        None if launch.command.is_empty() => "the command is empty".into(),
        None => format!(
            "there is no such command in the task's PATH `{}`; install it or give its path",
            launch.search
        ),
    }
}

fn exists(file: &CString) -> bool {
    Path::new(&*file.to_string_lossy()).symlink_metadata().is_ok()
}

/// Why a file that exists could not be executed.
fn explained(file: &Path, error: Errno) -> String {
    let Ok(metadata) = file.metadata() else {
        return match error {
            Errno::ENOENT => "is a link to a file that does not exist".into(),
            error => text(error),
        };
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return "is a directory".into();
    }
    match error {
        Errno::EACCES if kind.is_socket() || kind.is_fifo() || !kind.is_file() => {
            "is not a program".into()
        }
        Errno::EACCES if metadata.permissions().mode() & 0o111 == 0 => {
            "is not executable, make it so with `chmod +x`".into()
        }
        Errno::ENOENT => match interpreter(file) {
            Some(interpreter) => format!("needs the interpreter `{interpreter}`, which is missing"),
            None => "needs a program loader that this machine does not have, \
                     was it built for another system or C library?"
                .into(),
        },
        Errno::ENOEXEC => "is neither a program for this machine nor a script that starts with \
                           `#!` and its interpreter"
            .into(),
        Errno::E2BIG => "got more arguments and variables than the kernel takes, \
                         hand them over in a file or through stdin"
            .into(),
        error => text(error),
    }
}

/// The interpreter that a script's first line names.
fn interpreter(file: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(file).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).split_whitespace().next()?.to_owned())
}
