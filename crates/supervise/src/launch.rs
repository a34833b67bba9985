//! From a reaper to a running command.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, chdir, fork, getppid, pipe2, setsid};

use crate::process::{IGNORED, exit};
use crate::start_error::{self, StartError, text};
use crate::wire::{Credentials, Failure, Launch, Stdio};
use crate::{mount, secrets};

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
            let _ = File::from(writer.try_clone().unwrap_or_else(|_| exit(127)))
                .write_all(&packed(failure));
            exit(127)
        };
        let child = if launch.is_isolated() {
            // SAFETY: this process has a single thread, so the child finds every lock free.
            match unsafe { fork() } {
                // A user namespace can only be entered by a process with a memory of its own.
                Ok(ForkResult::Child) => run(&writer),
                Ok(ForkResult::Parent { child }) => Ok(child),
                Err(error) => Err(error),
            }
        } else {
            let body = Box::new(|| run(&writer));
            // The child borrows this process's memory, which is much faster than a copy.
            let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
            // SAFETY: with CLONE_VFORK this process, whose only thread this is, waits until the
            // child executes the command or exits, so the two never use the memory at the same
            // time, and everything that the closure borrows outlives the child's use of it. The
            // stack is large enough for `begin`, which does not recurse. What the child changes
            // in the shared memory are allocations, valid in both.
            unsafe { clone(body, &mut self.stack, flags, Some(libc::SIGCHLD)) }
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

/// A launch in the form that the kernel takes. All of it is made before the new process, which may share
/// this one's memory and could not free what it allocates.
struct Image {
    /// What may be the command's file, in the order of trying.
    candidates: Vec<CString>,
    args: Strings,
    env: Strings,
    directory: CString,
}

/// Texts, and pointers to them with a null pointer at the end.
struct Strings {
    texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    fn new(texts: Vec<CString>) -> Self {
        let ends = std::iter::once(std::ptr::null());
        let pointers = texts.iter().map(|text| text.as_ptr()).chain(ends).collect();
        Self { texts, pointers }
    }

    /// In bytes, with the NUL at its end.
    fn longest(&self) -> usize {
        self.texts.iter().map(|text| text.count_bytes() + 1).max().unwrap_or(0)
    }
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
            args: Strings::new(words.map(|word| c(word)).collect::<Result<_, _>>()?),
            env: Strings::new(launch.env.iter().map(|pair| c(pair)).collect::<Result<_, _>>()?),
            directory: c(&launch.directory)?,
        })
    }

    fn execute(&self, candidate: &CString) -> Errno {
        // SAFETY: the file's name ends with a NUL. Both lists end with a null pointer, and what they
        // point to are texts that end with a NUL and live as long as `self`: moving a `CString` does
        // not move its text.
        unsafe {
            libc::execve(
                candidate.as_ptr(),
                self.args.pointers.as_ptr(),
                self.env.pointers.as_ptr(),
            )
        };
        Errno::last()
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
    if launch.is_isolated() {
        mount::enter(launch)?;
        secrets::place(launch)?;
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
        exit(127);
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
        let error = image.execute(candidate);
        match error {
            // As execvp(3) does: an entry that is not there or not accessible is no reason to
            // stop looking, but a file that was found is what to report.
            Errno::ENOENT | Errno::ENOTDIR
                if !start_error::exists(OsStr::from_bytes(candidate.as_bytes()).as_ref()) => {}
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
            let longest = image.args.longest().max(image.env.longest());
            let file = Path::new(OsStr::from_bytes(file.as_bytes()));
            let why = StartError::of_file(file, error, longest);
            if by_path { why.to_string() } else { format!("`{}` {why}", file.display()) }
        }
        None if by_path && launch.command.starts_with('/') => "there is no such file".into(),
        None if by_path => {
            format!("there is no such file in the working directory `{}`", launch.directory)
        }
        None if launch.command.is_empty() => {
            "the command is empty, and there is no image that has one of its own".into()
        }
        None => format!(
            "there is no such command in the task's PATH `{}`; install it or give its path",
            launch.search
        ),
    }
}
