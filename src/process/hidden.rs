//! Secrets of the command line and the environment, out of what the system shows of this process.
//!
//! `ps` and `/proc/PID/cmdline` show every user the arguments, and `/proc/PID/environ` shows the tasks,
//! which run as the same user, the variables. Both are read from where the kernel put them when the
//! program started.
//!
//! They are overwritten while the process has one thread. The supervisor inherits no variables but the search
//! path of libraries.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use nix::libc;

use spec::masked;

/// Overwrites secrets in the memory that the system shows. `std::env` still has the variables, but no
/// longer the arguments. Returns the arguments without their secrets.
///
/// `secret_variables` are those that the command line names as secrets, beside those that always are.
///
/// For the start of the process, when the command line has been parsed. Nothing is overwritten if the
/// process has more than one thread by then, or if the memory is not what it is taken for.
pub fn hide(secret_variables: &[String]) -> Vec<String> {
    _ = SECRET_VARIABLES.set(secret_variables.to_vec());
    let arguments = shown_arguments();
    if let Some(areas) = areas() {
        hide_arguments(areas.arguments);
        hide_variables(areas.variables);
    }
    arguments
}

/// The variables that the command line names as secrets.
static SECRET_VARIABLES: OnceLock<Vec<String>> = OnceLock::new();

/// Where the kernel put the arguments and the variables: texts that end with a NUL each.
struct Areas {
    arguments: Range<usize>,
    variables: Range<usize>,
}

/// Reads them from the fields 48 to 51 of proc_pid_stat(5), if this thread is the only one (field 20).
fn areas() -> Option<Areas> {
    let line = fs::read("/proc/self/stat").ok()?;
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> =
        std::str::from_utf8(line.get(end + 1..)?).ok()?.split_ascii_whitespace().collect();
    // The first field after the name is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    if field(20)? != 1 {
        return None;
    }
    let areas = Areas { arguments: field(48)?..field(49)?, variables: field(50)?..field(51)? };
    let is_there = |area: &Range<usize>| area.start != 0 && area.start <= area.end;
    (is_there(&areas.arguments) && is_there(&areas.variables)).then_some(areas)
}

fn hide_arguments(area: Range<usize>) {
    let arguments: Vec<OsString> = env::args_os().collect();
    // SAFETY: `areas` has found these addresses for this process, which has one thread.
    let shown = unsafe { texts(&area) };
    // The memory is the arguments' only if it holds them.
    if !shown.iter().map(|(_, text)| text.as_slice()).eq(arguments.iter().map(|it| it.as_bytes())) {
        return;
    }
    let secrets = secrets(shown.iter().map(|(_, text)| text.as_slice()));
    for ((at, _), hidden) in shown.iter().zip(secrets) {
        if let Some(hidden) = hidden {
            // SAFETY: as above; the range is within the text that was read there.
            unsafe { overwrite(at + hidden.start, hidden.len()) };
        }
    }
}

/// The arguments of this process, the program's name left out, with `***` for what may be a secret.
fn shown_arguments() -> Vec<String> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let own = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let mut secrets = secrets(arguments.iter().map(|argument| argument.as_bytes()));
    // What these mean is known to the pipeline alone, and a report goes further than a process list.
    for (argument, hidden) in arguments.iter().zip(&mut secrets).skip(own) {
        *hidden = argument.to_str().and_then(|text| value_of_var(text).or_else(|| secret(text)));
    }
    let shown = |(argument, hidden): (&OsString, Option<Range<usize>>)| match hidden {
        Some(hidden) => {
            let text = argument.to_string_lossy();
            format!("{}***{}", &text[..hidden.start], &text[hidden.end..])
        }
        None => argument.to_string_lossy().into_owned(),
    };
    arguments.iter().zip(secrets).skip(1).map(shown).collect()
}

/// The part of each argument that may be a secret. What follows `--` is the pipeline's own.
fn secrets<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Range<usize>>> {
    let (mut option, mut is_pipelines) = (&b""[..], false);
    let hidden = |argument: &'a [u8]| {
        is_pipelines |= argument == b"--";
        let hidden = match std::str::from_utf8(argument) {
            _ if is_pipelines => None,
            Ok(text) if option == b"--var" => value_of_var(text),
            Ok(text) if option == b"--secret" => value_of_secret(text),
            Ok(text) => secret(text),
            Err(_) => None,
        };
        option = argument;
        hidden
    };
    arguments.map(hidden).collect()
}

/// The part of an argument that may be a secret.
fn secret(argument: &str) -> Option<Range<usize>> {
    if let Some(pair) = argument.strip_prefix("--secret=") {
        let before = argument.len() - pair.len();
        return value_of_secret(pair).map(|value| before + value.start..before + value.end);
    }
    if let Some(pair) = argument.strip_prefix("--var=") {
        let before = argument.len() - pair.len();
        return value_of_var(pair).map(|value| before + value.start..before + value.end);
    }
    let lower = argument.to_ascii_lowercase();
    let start = ["//", "%2f%2f"].iter().filter_map(|mark| lower.find(mark)).min()?;
    (masked(argument) != argument).then_some(start + 2..argument.len())
}

/// A value that somebody wrote where the name of a source belongs.
fn value_of_secret(pair: &str) -> Option<Range<usize>> {
    let value = value_of_var(pair)?;
    let source = &pair[value.clone()];
    if source.chars().all(|c| c == '=') {
        // The end of a value in base64, and no name.
        return Some(0..pair.len());
    }
    (!source.starts_with("env:") && !source.starts_with("file:")).then_some(value)
}

fn value_of_var(pair: &str) -> Option<Range<usize>> {
    Some(pair.find('=')? + 1..pair.len())
}

/// Moves what may be secret out of the area, and overwrites it there.
fn hide_variables(area: Range<usize>) {
    for (name, value) in env::vars_os().filter(|(name, _)| is_secret(name)) {
        // SAFETY: this process has one thread, so nobody else reads or changes the environment.
        unsafe { env::set_var(&name, &value) };
    }
    // SAFETY: `areas` has found these addresses for this process, which has one thread.
    for (at, text) in unsafe { texts(&area) } {
        let Some(end) = text.iter().position(|byte| *byte == b'=') else { continue };
        let name = OsStr::from_bytes(&text[..end]);
        if is_secret(name) && !is_used(name, &area) {
            // SAFETY: as above. The C library has a copy of its own elsewhere.
            unsafe { overwrite(at + end + 1, text.len() - end - 1) };
        }
    }
}

/// The variables of this process that may be secret. Programs that it starts do without them, but for tasks
/// that are to have one.
pub fn variables() -> Vec<OsString> {
    env::vars_os().map(|(name, _)| name).filter(|name| is_secret(name)).collect()
}

fn is_secret(name: &OsStr) -> bool {
    let named = || SECRET_VARIABLES.get().is_some_and(|names| names.iter().any(|it| name == &**it));
    name == "CI_DRIVER" || name == "CI_CACHE" || name.as_bytes().starts_with(b"AWS_") || named()
}

/// Whether the C library still has a variable's value in this area.
fn is_used(name: &OsStr, area: &Range<usize>) -> bool {
    let Ok(name) = CString::new(name.as_bytes()) else { return true };
    // SAFETY: the name ends with a NUL, and the result is only compared with addresses.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    value.is_null() || area.contains(&value.addr())
}

/// Copies of the texts in an area, with where each begins.
///
/// # Safety
///
/// The area must be the arguments' or the variables' of this process, which must have one thread.
unsafe fn texts(area: &Range<usize>) -> Vec<(usize, Vec<u8>)> {
    let mut texts = Vec::new();
    let mut at = area.start;
    while at < area.end {
        // SAFETY: the kernel has mapped the area for the life of the process, and has written nothing to
        // it but texts that end with a NUL. Nobody writes to it at this moment.
        let text = unsafe { CStr::from_ptr(std::ptr::with_exposed_provenance(at)) }.to_bytes();
        texts.push((at, text.to_vec()));
        at += text.len() + 1;
    }
    texts
}

/// # Safety
///
/// The bytes must be part of a text in the area of the arguments or the variables of this process, which
/// must have one thread, and nothing may read that text later as what it was.
unsafe fn overwrite(start: usize, length: usize) {
    let start: *mut u8 = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the area is part of the first thread's stack and so can be written. No reference points
    // there: the standard library and the C library keep pointers, and copy when they are asked. NULs stay
    // where they are.
    unsafe { start.write_bytes(b'*', length) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_of_an_argument_is_secret() {
        let hidden = |argument: &str| secret(argument).map(|range| argument[range].to_owned());
        let table = [
            ("run", None),
            ("p@x.ts", None),
            ("--driver=native://?grace=1h", None),
            ("--driver=native://?cache=s3://http://K:S@h/b", Some("?cache=s3://http://K:S@h/b")),
            ("s3://K:S@h/b", Some("K:S@h/b")),
            ("--var=token=abc", Some("abc")),
            ("--var=token", None),
            ("--secret=TOKEN=abc", Some("abc")),
            ("--secret=TOKEN=env:X", None),
            ("--secret=YWJjZA==", Some("YWJjZA==")),
        ];
        for (argument, expected) in table {
            assert_eq!(hidden(argument).as_deref(), expected, "{argument}");
        }
    }
}
