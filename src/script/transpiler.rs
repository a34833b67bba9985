//! Parses in a process of its own what could exhaust the stack or the memory of this one.
//!
//! The parser goes down with each level of nesting, and a stack that is exhausted ends the process.
//! So a source that may be nested deeply is parsed by this same program in another role.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exports::{PlainValue, plain_values};
use super::transpile::{Script, SyntaxError, transpile};
use crate::process::memory::{Memory, Share};

/// The hidden first argument that makes the program a transpiler. It is followed by the work, the most
/// memory in bytes and the source's name.
const TRANSPILER_ARG: &str = "__transpiler";

/// What a transpiler can be asked for.
const SCRIPT: &str = "script";
const EXPORTS: &str = "exports";

/// The stack for transpiling, in bytes. Only what is used takes memory.
const STACK: usize = 512 * 1024 * 1024;

/// A source with fewer brackets and fewer bytes cannot exhaust the stack: the parser needs up to
/// 32 KiB for a bracket, and up to 1 KiB for a byte that is none.
const FEW_BRACKETS: usize = 4_000;
const FEW_BYTES: usize = 256 * 1024;

/// The largest source in TypeScript, in bytes. Its tree is many times as large.
pub const LARGEST_SOURCE: usize = 32 * 1024 * 1024;

/// How much memory a transpiler gets at least, in bytes, however little the pipeline has left.
const LEAST_MEMORY: usize = 128 * 1024 * 1024;

/// How long a source may take to transpile, in seconds of processor time.
const MAX_SECONDS: u64 = 30;

/// Why a source was not transpiled.
#[derive(Debug)]
pub enum Refusal {
    Syntax(SyntaxError),
    /// It needs more memory than the pipeline has left.
    Memory,
}

#[derive(Deserialize, Serialize)]
enum Answer {
    Script { code: String, source_map: String },
    SyntaxError { message: String, line: usize, column: usize },
}

/// Transpiles a source of any depth. The stack of the calling thread has to be large.
pub fn transpile_safely(
    specifier: &str,
    source: String,
    memory: &Arc<Memory>,
) -> Result<Script, Refusal> {
    if is_harmless(&source) {
        return transpile(specifier, source).map_err(Refusal::Syntax);
    }
    // What is decoded counts until it was handed over.
    match elsewhere(SCRIPT, specifier, &source, memory) {
        Ok((Answer::Script { code, source_map }, _share)) => {
            Ok(Script { code, source_map: source_map.into_bytes() })
        }
        Ok((Answer::SyntaxError { message, line, column }, _)) => {
            Err(Refusal::Syntax(SyntaxError { message, line, column }))
        }
        Err(Failure::Memory) => Err(Refusal::Memory),
        Err(Failure::Other(message)) => {
            let (line, column) = deepest(&source);
            Err(Refusal::Syntax(SyntaxError { message, line, column }))
        }
    }
}

/// What `plain_values` returns, of a source of any depth. Of one that cannot be parsed nothing is known.
pub fn plain_values_safely(source: &str, memory: &Arc<Memory>) -> Vec<PlainValue> {
    if is_harmless(source) {
        return plain_values(source);
    }
    match elsewhere::<Vec<PlainValue>>(EXPORTS, "", source, memory) {
        Ok((values, _share)) => values,
        Err(_) => Vec::new(),
    }
}

/// Whether no source of this size, with so many brackets, can exhaust the stack.
fn is_harmless(source: &str) -> bool {
    let brackets = source.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{' | b'<')).count();
    brackets < FEW_BRACKETS && source.len() < FEW_BYTES
}

/// Why another process has not answered.
enum Failure {
    Memory,
    Other(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(format!("it cannot be transpiled: {error}"))
    }
}

/// Has another process do the work. The share is for what is returned.
fn elsewhere<T: DeserializeOwned>(
    work: &str,
    specifier: &str,
    source: &str,
    memory: &Arc<Memory>,
) -> Result<(T, Share), Failure> {
    let most = memory.left().max(LEAST_MEMORY);
    let mut child = Command::new("/proc/self/exe")
        .args([TRANSPILER_ARG, work, &most.to_string(), specifier])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The transpiler reads all of its input before it writes. One that has ended early says why by
    // its status.
    let input = child.stdin.take().map(|mut input| input.write_all(source.as_bytes()));
    let mut share = memory.share(0).ok_or(Failure::Memory)?;
    let answer = answer_of(&mut child, most, &mut share);
    if answer.is_err() {
        // It may wait for somebody to read the rest.
        child.kill()?;
    }
    // Why it has ended, which is a line.
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        _ = errors.take(4 * 1024).read_to_string(&mut said);
    }
    let status = child.wait()?;
    let answer = answer?;
    if status.success() {
        let answer = serde_json::from_slice(&answer);
        return answer
            .map(|answer| (answer, share))
            .map_err(|error| Failure::Other(format!("it cannot be transpiled: {error}")));
    }
    Err(match status.signal() {
        Some(nix::libc::SIGXCPU) => Failure::Other(format!(
            "it takes more than {MAX_SECONDS} s to transpile, look for deep nesting"
        )),
        // Rust's own words for an allocation that was refused.
        Some(nix::libc::SIGABRT) if said.contains("memory allocation of") => Failure::Memory,
        Some(nix::libc::SIGABRT | nix::libc::SIGSEGV) => {
            Failure::Other("nested too deeply".to_owned())
        }
        _ => match input {
            Some(Err(error)) => error.into(),
            _ => Failure::Other(format!(
                "it cannot be transpiled: the transpiler ended with {status}"
            )),
        },
    })
}

/// Reads an answer that is no longer than `most`. It counts twice, since decoding copies it.
fn answer_of(child: &mut Child, most: usize, share: &mut Share) -> Result<Vec<u8>, Failure> {
    let mut answer = Vec::new();
    let Some(mut output) = child.stdout.take() else { return Ok(answer) };
    let mut part = vec![0; 64 * 1024];
    loop {
        let read = match output.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if answer.len() + read > most || !share.grow(2 * read) {
            return Err(Failure::Memory);
        }
        answer.extend_from_slice(&part[..read]);
    }
}

/// Becomes a transpiler if the program was started as one, and does not return then.
pub fn run_if_asked() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(TRANSPILER_ARG) {
        return;
    }
    let work = args.next().unwrap_or_default();
    let most = args.next().and_then(|most| most.parse().ok()).unwrap_or(LEAST_MEMORY);
    let specifier = args.next().unwrap_or_default();
    // It must not outlive `ci`, nor write a core of what is somebody else's source. The stack counts as
    // data, although most of it is never used.
    let data = u64::try_from(STACK.saturating_add(most)).unwrap_or(u64::MAX);
    let limits = prctl::set_pdeathsig(Signal::SIGKILL)
        .and_then(|()| setrlimit(Resource::RLIMIT_CPU, MAX_SECONDS, MAX_SECONDS + 1))
        .and_then(|()| setrlimit(Resource::RLIMIT_CORE, 0, 0))
        .and_then(|()| setrlimit(Resource::RLIMIT_DATA, data, data));
    let answered = limits.is_ok()
        && std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || answer(&work, &specifier))
            .is_ok_and(|thread| thread.join().is_ok_and(|answered| answered.is_ok()));
    std::process::exit(i32::from(!answered));
}

fn answer(work: &str, specifier: &str) -> std::io::Result<()> {
    let mut source = String::new();
    std::io::stdin().read_to_string(&mut source)?;
    let output = std::io::stdout().lock();
    if work == EXPORTS {
        return Ok(serde_json::to_writer(output, &plain_values(&source))?);
    }
    let answer = match transpile(specifier, source) {
        Ok(Script { code, source_map }) => Answer::Script {
            code,
            source_map: String::from_utf8(source_map).map_err(std::io::Error::other)?,
        },
        Err(SyntaxError { message, line, column }) => Answer::SyntaxError { message, line, column },
    };
    Ok(serde_json::to_writer(output, &answer)?)
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
