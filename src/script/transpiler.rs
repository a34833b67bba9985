//! Transpiles in a process of its own what could exhaust the stack of this one.
//!
//! The parser goes down with each level of nesting, and a stack that is exhausted ends the process.
//! So a source that may be nested deeply is transpiled by this same program in another role.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::transpile::{Script, SyntaxError, transpile};

/// The hidden first argument that makes the program a transpiler. The second is the source's name.
const TRANSPILER_ARG: &str = "__transpiler";

/// The stack for transpiling, in bytes. Only what is used takes memory.
const STACK: usize = 512 * 1024 * 1024;

/// A source with fewer brackets and fewer bytes cannot exhaust the stack: the parser needs up to
/// 32 KiB for a bracket, and up to 1 KiB for a byte that is none.
const FEW_BRACKETS: usize = 4_000;
const FEW_BYTES: usize = 256 * 1024;

/// How long a source may take to transpile, in seconds of processor time.
const MAX_SECONDS: u64 = 30;

#[derive(Deserialize, Serialize)]
enum Answer {
    Script { code: String, source_map: String },
    SyntaxError { message: String, line: usize, column: usize },
}

/// Transpiles a source of any size and depth. The stack of the calling thread has to be large.
pub fn transpile_safely(specifier: &str, source: String) -> Result<Script, SyntaxError> {
    let brackets = source.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{' | b'<')).count();
    if brackets < FEW_BRACKETS && source.len() < FEW_BYTES {
        return transpile(specifier, source);
    }
    match elsewhere(specifier, &source) {
        Ok(Answer::Script { code, source_map }) => {
            Ok(Script { code, source_map: source_map.into_bytes() })
        }
        Ok(Answer::SyntaxError { message, line, column }) => {
            Err(SyntaxError { message, line, column })
        }
        Err(message) => {
            let (line, column) = deepest(&source);
            Err(SyntaxError { message, line, column })
        }
    }
}

/// Has another process transpile. The error is for a process that did not answer.
fn elsewhere(specifier: &str, source: &str) -> Result<Answer, String> {
    let broken = |error: std::io::Error| format!("it cannot be transpiled: {error}");
    let mut child = Command::new("/proc/self/exe")
        .args([TRANSPILER_ARG, specifier])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(broken)?;
    // The transpiler reads all of its input before it writes. One that has ended early says why by
    // its status.
    let input = child.stdin.take().map(|mut input| input.write_all(source.as_bytes()));
    let output = child.wait_with_output().map_err(broken)?;
    if output.status.success() {
        let answer = serde_json::from_slice(&output.stdout);
        return answer.map_err(|error| format!("it cannot be transpiled: {error}"));
    }
    Err(match output.status.signal() {
        Some(nix::libc::SIGXCPU) => {
            format!("it takes more than {MAX_SECONDS} s to transpile, look for deep nesting")
        }
        Some(nix::libc::SIGABRT | nix::libc::SIGSEGV) => "nested too deeply".to_owned(),
        _ => match input {
            Some(Err(error)) => broken(error),
            _ => format!("it cannot be transpiled: the transpiler ended with {}", output.status),
        },
    })
}

/// Becomes a transpiler if the program was started as one, and does not return then.
pub fn run_if_asked() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(TRANSPILER_ARG) {
        return;
    }
    let specifier = args.next().unwrap_or_default();
    // It must not outlive `ci`, nor write a core of what is somebody else's source.
    let limits = prctl::set_pdeathsig(Signal::SIGKILL)
        .and_then(|()| setrlimit(Resource::RLIMIT_CPU, MAX_SECONDS, MAX_SECONDS + 1))
        .and_then(|()| setrlimit(Resource::RLIMIT_CORE, 0, 0));
    let answered = limits.is_ok()
        && std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || answer(&specifier))
            .is_ok_and(|thread| thread.join().is_ok_and(|answered| answered.is_ok()));
    std::process::exit(i32::from(!answered));
}

fn answer(specifier: &str) -> std::io::Result<()> {
    let mut source = String::new();
    std::io::stdin().read_to_string(&mut source)?;
    let answer = match transpile(specifier, source) {
        Ok(Script { code, source_map }) => Answer::Script {
            code,
            source_map: String::from_utf8(source_map).map_err(std::io::Error::other)?,
        },
        Err(SyntaxError { message, line, column }) => Answer::SyntaxError { message, line, column },
    };
    serde_json::to_writer(std::io::stdout().lock(), &answer)?;
    Ok(())
}

/// Line and column where most brackets are open, both counted from 1. Brackets in texts count too.
pub fn deepest(source: &str) -> (usize, usize) {
    let (mut line, mut column) = (1, 1);
    let (mut open, mut most, mut place) = (0_usize, 0, (1, 1));
    for character in source.chars() {
        match character {
            '(' | '[' | '{' => {
                open += 1;
                if open > most {
                    (most, place) = (open, (line, column));
                }
            }
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += character.len_utf16();
        }
    }
    place
}
