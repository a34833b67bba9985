//! Other programs: started, read and waited for.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use crate::error::ResourceError;
use crate::log::Log;

/// What is kept of the messages of a program, in bytes.
const KEPT: usize = 16 << 10;

/// How a program ended.
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The end of its messages, without secrets.
    pub stderr: String,
}

/// Whether the messages of a program are for people while it runs.
#[derive(Clone, Copy, PartialEq)]
pub enum Messages {
    Shown,
    Kept,
}

/// Runs a program to its end. It is ended if this process ends before it.
pub fn run(
    mut command: Command,
    input: Option<Vec<u8>>,
    messages: Messages,
    log: &Log<'_>,
) -> Result<Outcome, ResourceError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only a system call is made, which neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            let signal = Some(rustix::process::Signal::TERM);
            Ok(rustix::process::set_parent_process_death_signal(signal)?)
        });
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| cannot_start(&name, &error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that does not read to the end says itself why.
            scope.spawn(move || _ = stdin.write_all(&input));
        }
        let output = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.map_or(Ok(0), |mut from| from.read_to_end(&mut bytes)).map(|_| bytes)
        });
        let kept = stderr.map(|from| keep(from, messages, log)).unwrap_or_default();
        (output.join(), kept)
    });
    let failed = |error: std::io::Error| {
        ResourceError::failed(format!("cannot read from `{name}`: {error}"))
    };
    let stdout = match stdout {
        Ok(read) => read.map_err(failed)?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let status = child.wait().map_err(failed)?;
    Ok(Outcome { status, stdout, stderr })
}

fn keep(mut from: impl Read, messages: Messages, log: &Log<'_>) -> String {
    let (mut masker, mut kept) = (log.masker(), Vec::new());
    let mut buffer = [0; 8192];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => 0,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let mut out = Vec::new();
        if read == 0 {
            masker.flush_cut(&mut out);
        } else {
            masker.push(&buffer[..read], &mut out);
        }
        if messages == Messages::Shown {
            log.raw(&out);
        }
        kept.extend_from_slice(&out);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
        if read == 0 {
            return String::from_utf8_lossy(&kept).into_owned();
        }
    }
}

fn cannot_start(name: &str, error: &std::io::Error) -> ResourceError {
    if error.kind() == ErrorKind::NotFound {
        return ResourceError::failed(format!(
            "`{name}` is not installed, or not in `PATH`: install it"
        ));
    }
    ResourceError::failed(format!("cannot start `{name}`: {error}"))
}

/// Where a program is, if it is in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| {
        rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
    })
}
