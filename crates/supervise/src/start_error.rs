//! Why the kernel did not execute a file, in the words that all drivers use.
//!
//! execve(2) has one number for many reasons: `ENOENT` is a missing interpreter as well as a missing
//! program loader, `ENOEXEC` an empty file as well as a program for another processor. The file itself
//! tells them apart.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

/// How much of a file's beginning is enough for [`StartError::of_content`], in bytes.
pub const START: usize = 4096;

/// How much of a script's first line the kernel reads (`BINPRM_BUF_SIZE`), in bytes.
const FIRST_LINE: usize = 256;

/// How many scripts the kernel lets be each other's interpreters.
const MAX_DEPTH: usize = 5;

/// Longest argument or variable (`MAX_ARG_STRLEN`), in bytes, with the NUL at its end.
pub const MAX_STRING: usize = 128 << 10;

/// Why a file that exists was not executed. The text continues a sentence about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    Directory,
    /// A pipe, a socket or a device.
    NotAProgram,
    /// Its mode lets nobody execute it.
    NotExecutable,
    /// Its mode lets others execute it.
    NotExecutableByUser,
    /// Its file system is mounted with `noexec`.
    NoExecMount,
    /// A directory on its way does not let the user in.
    OutOfReach,
    DanglingLink,
    LinkLoop,
    Empty,
    /// It is open for writing.
    Busy,
    /// Its first line ends in a carriage return, which the kernel takes for a part of the name.
    CarriageReturn {
        interpreter: String,
    },
    /// A script that starts with a byte order mark.
    ByteOrderMark,
    /// `#!` is there, but not at the very beginning.
    LateInterpreter,
    /// Nothing follows `#!`.
    NoInterpreter,
    /// The first line has no end within what the kernel reads.
    LongFirstLine,
    /// The interpreter has no path, and none is searched for it.
    RelativeInterpreter {
        interpreter: String,
    },
    MissingInterpreter {
        interpreter: String,
    },
    /// The interpreter is there, but is not executed either.
    UnusableInterpreter {
        interpreter: String,
        reason: Box<StartError>,
    },
    /// The interpreter is a script with an interpreter, and so on.
    InterpreterLoop {
        interpreter: String,
    },
    /// A program whose dynamic loader is missing.
    MissingLoader {
        loader: Option<String>,
    },
    /// A program for another processor or operating system.
    OtherMachine {
        machine: String,
    },
    /// Neither a program nor a script.
    UnknownFormat,
    /// More arguments and variables than the kernel takes, or one that is too long.
    TooLong {
        longest: usize,
    },
    Other(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => write!(f, "is a directory"),
            Self::NotAProgram => write!(f, "is not a program"),
            Self::NotExecutable => write!(f, "is not executable, make it so with `chmod +x`"),
            Self::NotExecutableByUser => write!(
                f,
                "is not executable for the user of the task, change its mode with `chmod +x` or the \
                 task's `user`"
            ),
            Self::NoExecMount => write!(
                f,
                "is on a file system that is mounted with `noexec`, keep programs elsewhere or name \
                 the interpreter, as in `sh FILE`"
            ),
            Self::OutOfReach => write!(
                f,
                "is out of reach: a directory on its path does not let the user of the task in"
            ),
            Self::DanglingLink => write!(f, "is a link to a file that does not exist"),
            Self::LinkLoop => {
                write!(f, "is a symbolic link that leads back to itself, or a chain of too many")
            }
            Self::Empty => write!(f, "is empty"),
            Self::Busy => write!(
                f,
                "is open for writing in another process, which has to close it before it can be \
                 executed"
            ),
            Self::CarriageReturn { interpreter } => write!(
                f,
                "has a carriage return at the end of its first line, so the kernel looks for an \
                 interpreter `{interpreter}\\r`; give the file Unix line endings, as with \
                 `sed -i 's/\\r$//' FILE`"
            ),
            Self::ByteOrderMark => write!(
                f,
                "starts with a byte order mark, and `#!` has to come first; save it as UTF-8 without \
                 one"
            ),
            Self::LateInterpreter => write!(
                f,
                "has something before `#!`, which has to be the first two characters of the file"
            ),
            Self::NoInterpreter => write!(f, "names no interpreter after `#!`"),
            Self::LongFirstLine => write!(
                f,
                "has a first line of more than the {FIRST_LINE} bytes that the kernel reads, shorten \
                 the path of the interpreter"
            ),
            Self::RelativeInterpreter { interpreter } => write!(
                f,
                "names the interpreter `{interpreter}` without its path, write \
                 `#!/usr/bin/env {interpreter}`"
            ),
            Self::MissingInterpreter { interpreter } => {
                write!(f, "needs the interpreter `{interpreter}`, which is missing")
            }
            Self::UnusableInterpreter { interpreter, reason } => {
                write!(f, "needs the interpreter `{interpreter}`, which {reason}")
            }
            Self::InterpreterLoop { interpreter } => write!(
                f,
                "needs the interpreter `{interpreter}`, which is a script that needs one itself, too \
                 many times over"
            ),
            Self::MissingLoader { loader: Some(loader) } => write!(
                f,
                "needs the program loader `{loader}`, which is missing; was it built for another \
                 system or C library?"
            ),
            Self::MissingLoader { loader: None } => write!(
                f,
                "needs a program loader that is missing, was it built for another system or C \
                 library?"
            ),
            Self::OtherMachine { machine } => {
                write!(f, "is a program for {machine}, which does not run on this machine")
            }
            Self::UnknownFormat => write!(
                f,
                "is neither a program for this machine nor a script that starts with `#!` and its \
                 interpreter"
            ),
            Self::TooLong { longest } if *longest > MAX_STRING => write!(
                f,
                "got an argument or a variable of {} bytes, and the kernel takes {}; hand it over in a \
                 file or through stdin",
                longest - 1,
                MAX_STRING - 1
            ),
            Self::TooLong { .. } => write!(
                f,
                "got more arguments and variables than the kernel takes, hand them over in a file or \
                 through stdin"
            ),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl StartError {
    /// Why execve(2) failed with `error` for `file`, as the calling process sees both.
    ///
    /// `longest` is the length of the longest argument or variable in bytes.
    pub fn of_file(file: &Path, error: Errno, longest: usize) -> Self {
        match error {
            Errno::E2BIG => Self::TooLong { longest },
            error => Self::of_nested(file, error, 0),
        }
    }

    /// `depth` is the number of scripts that have this file as their interpreter, or an interpreter of
    /// their interpreter.
    fn of_nested(file: &Path, error: Errno, depth: usize) -> Self {
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(_) if error == Errno::ENOENT => return Self::DanglingLink,
            Err(_) if error == Errno::ELOOP => return Self::LinkLoop,
            Err(_) if error == Errno::EACCES => return Self::OutOfReach,
            Err(_) => return Self::Other(text(error)),
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Self::Directory;
        }
        if kind.is_socket() || kind.is_fifo() || !kind.is_file() {
            return Self::NotAProgram;
        }
        if error == Errno::EACCES {
            if metadata.permissions().mode() & 0o111 == 0 {
                return Self::NotExecutable;
            }
            let mounted = statvfs(file).map(|found| found.f_flag);
            if mounted.is_ok_and(|flags| flags.contains(StatVfsMountFlags::NOEXEC)) {
                return Self::NoExecMount;
            }
            if access(file, Access::EXEC_OK).is_err() {
                return Self::NotExecutableByUser;
            }
        }
        // A file that may be executed but not read keeps its reason to itself.
        let Some(start) = start_of(file) else { return Self::Other(text(error)) };
        let found = Self::of_content(&start, error);
        match (found, interpreter(&start)) {
            // The script is in order, so it is about what the script names.
            (None | Some(Self::UnknownFormat), Some(interpreter)) if depth < MAX_DEPTH => {
                let reason = Self::of_nested(Path::new(&interpreter), error, depth + 1);
                Self::UnusableInterpreter { interpreter, reason: Box::new(reason) }
            }
            (Some(found), _) => found,
            (None, _) => Self::Other(text(error)),
        }
    }

    /// The same for a regular file of which the first [`START`] bytes are known, and that the mode
    /// and the mount let the user execute. `None` if its content does not tell.
    pub fn of_content(start: &[u8], error: Errno) -> Option<Self> {
        Some(match error {
            Errno::ETXTBSY => Self::Busy,
            Errno::E2BIG => Self::TooLong { longest: 0 },
            Errno::ENOENT => match interpreter(start) {
                Some(interpreter) => match interpreter.strip_suffix('\r') {
                    Some(name) => Self::CarriageReturn { interpreter: name.to_owned() },
                    None if is_cut(start) => Self::LongFirstLine,
                    None if !interpreter.starts_with('/') => {
                        Self::RelativeInterpreter { interpreter }
                    }
                    None => Self::MissingInterpreter { interpreter },
                },
                None => Self::MissingLoader { loader: loader(start) },
            },
            Errno::ELOOP => Self::InterpreterLoop { interpreter: interpreter(start)? },
            Errno::ENOEXEC => Self::of_format(start),
            _ => return None,
        })
    }

    /// What keeps a file from being a program or a script.
    fn of_format(start: &[u8]) -> Self {
        const MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFF\xFE", b"\xFE\xFF"];
        if start.is_empty() {
            return Self::Empty;
        }
        if MARKS.iter().any(|mark| start.starts_with(mark)) {
            return Self::ByteOrderMark;
        }
        if let Some(machine) = machine(start) {
            return Self::OtherMachine { machine };
        }
        if start.starts_with(b"#!") {
            return match interpreter(start) {
                None => Self::NoInterpreter,
                Some(_) if is_cut(start) => Self::LongFirstLine,
                Some(_) => Self::UnknownFormat,
            };
        }
        if start.trim_ascii_start().starts_with(b"#!") {
            return Self::LateInterpreter;
        }
        Self::UnknownFormat
    }
}

/// The system's own words.
pub fn text(error: Errno) -> String {
    error.desc().to_lowercase()
}

fn start_of(file: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(file).ok()?.take(START as u64).read_to_end(&mut start).ok()?;
    Some(start)
}

/// The interpreter that a script's first line names, as the kernel reads it: up to a space, a tab or the
/// end of the line, so with a carriage return.
fn interpreter(start: &[u8]) -> Option<String> {
    let rest = start.strip_prefix(b"#!")?;
    let rest = &rest[..rest.len().min(FIRST_LINE - 2)];
    let line = rest.split(|byte| *byte == b'\n').next()?;
    let name = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Whether the kernel does not see the end of the first line.
fn is_cut(start: &[u8]) -> bool {
    start.len() >= FIRST_LINE && !start[..FIRST_LINE].contains(&b'\n')
}

/// What a program is for, if that is not this machine.
fn machine(start: &[u8]) -> Option<String> {
    match start {
        [0xFE, 0xED, 0xFA, 0xCE | 0xCF, ..]
        | [0xCE | 0xCF, 0xFA, 0xED, 0xFE, ..]
        | [0xCA, 0xFE, 0xBA, 0xBE, ..] => return Some("macOS".into()),
        [b'M', b'Z', ..] => return Some("Windows".into()),
        _ => {}
    }
    let header = start.strip_prefix(b"\x7FELF")?;
    let little = header.get(1)? == &1;
    let number = [*header.get(14)?, *header.get(15)?];
    let number = if little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
    // elf(5) and the kernel's `elf-em.h`.
    let name = match (number, header.first()?) {
        (3, _) => "x86",
        (8, _) => "MIPS",
        (20, _) => "powerpc",
        (21, _) => "powerpc64",
        (22, _) => "s390x",
        (40, _) => "arm",
        (62, _) => "x86_64",
        (183, _) => "aarch64",
        (243, 2) => "riscv64",
        (243, _) => "riscv32",
        (258, _) => "loongarch64",
        _ => return Some(format!("another processor (ELF machine {number})")),
    };
    (name != std::env::consts::ARCH).then(|| format!("the processor `{name}`"))
}

/// The dynamic loader that a program of this machine's byte order names (`PT_INTERP`).
fn loader(start: &[u8]) -> Option<String> {
    let wide = match start {
        [0x7F, b'E', b'L', b'F', class @ (1 | 2), 1, ..] => *class == 2,
        _ => return None,
    };
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = start.get(at..at.checked_add(length)?)?;
        let value = bytes.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        usize::try_from(value).ok()
    };
    let (table, size, count) = match wide {
        true => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        false => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
    };
    (0..count).find_map(|index| {
        let at = table.checked_add(index.checked_mul(size)?)?;
        if number(at, 4)? != 3 {
            return None;
        }
        let (offset, length) = match wide {
            true => (number(at.checked_add(8)?, 8)?, number(at.checked_add(32)?, 8)?),
            false => (number(at.checked_add(4)?, 4)?, number(at.checked_add(16)?, 4)?),
        };
        let name = start.get(offset..offset.checked_add(length)?)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    })
}

/// Whether something is at this path, a dangling link included.
pub fn exists(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_content_of_a_file_tells() {
        let long = format!("#!/{}\n", "x".repeat(300));
        let interpreter = || "/bin/sh".to_owned();
        let mut other = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
        other.extend(0xF7_u16.to_le_bytes());
        let table: [(&[u8], Errno, StartError); 13] = [
            (b"", Errno::ENOEXEC, StartError::Empty),
            (
                b"#!/bin/sh\r\necho\r\n",
                Errno::ENOENT,
                StartError::CarriageReturn { interpreter: interpreter() },
            ),
            (
                b"#! /bin/sh -e\n",
                Errno::ENOENT,
                StartError::MissingInterpreter { interpreter: interpreter() },
            ),
            (
                b"#!sh\n",
                Errno::ENOENT,
                StartError::RelativeInterpreter { interpreter: "sh".into() },
            ),
            (b"\xEF\xBB\xBF#!/bin/sh\n", Errno::ENOEXEC, StartError::ByteOrderMark),
            (b"\n #!/bin/sh\n", Errno::ENOEXEC, StartError::LateInterpreter),
            (b"#!\n", Errno::ENOEXEC, StartError::NoInterpreter),
            (b"#! \t\necho", Errno::ENOEXEC, StartError::NoInterpreter),
            (long.as_bytes(), Errno::ENOEXEC, StartError::LongFirstLine),
            (
                &other,
                Errno::ENOEXEC,
                StartError::OtherMachine { machine: "another processor (ELF machine 247)".into() },
            ),
            (b"MZ\x90", Errno::ENOEXEC, StartError::OtherMachine { machine: "Windows".into() }),
            (b"echo\n", Errno::ENOEXEC, StartError::UnknownFormat),
            (b"\x7FELF\x02\x01", Errno::ENOENT, StartError::MissingLoader { loader: None }),
        ];
        for (start, error, expected) in table {
            let text = String::from_utf8_lossy(start).into_owned();
            assert_eq!(StartError::of_content(start, error), Some(expected), "{text:?}");
        }
        assert_eq!(StartError::of_content(b"data", Errno::EPERM), None);
    }

    #[test]
    fn the_loader_of_this_program_is_found_and_rubbish_names_none() {
        let own = start_of(Path::new("/bin/sh")).unwrap();
        assert!(loader(&own).is_some_and(|loader| Path::new(&loader).exists()));
        for length in 0..own.len().min(300) {
            _ = loader(&own[..length]);
        }
        let mut broken = own.clone();
        broken[32..64].fill(0xFF);
        assert_eq!(loader(&broken), None);
    }
}
