//! The init process that every command has: the engine's own, which is tini.
//!
//! It adopts what a command leaves behind, passes on signals, and says on the error output when it cannot
//! execute a command. A container's exit code does not tell whether its command ended with that code or by
//! a signal, and its output not whether the init process or the command wrote it. So the command's init
//! process is asked for a report (`-v`), which tini writes to the standard output when the command has
//! ended: after all that the command wrote, and in one piece.
//!
//! A container has the same exit code for `exit 137` and for SIGKILL, but only the latter is a signal to the
//! pipeline. A volume is persisted after neither: a shell returns such a code too when a signal has ended its
//! last command. What tini says of a command that it cannot execute goes to the error output, where a command
//! may write the same. It is believed only if the process's number fits and the [file explains
//! it](super::diagnosis). Containers have no log of their own: the output is attached before they start, and
//! a slow reader slows the container down.

use memchr::memchr_iter;

/// The init process, where it is in every container that has one.
pub const INIT: &str = "/sbin/docker-init";

/// How the init process begins what it says of a command that it cannot execute.
const FATAL: &[u8] = b"[FATAL tini (";

/// How the runtime begins what it says of an init process that it cannot execute.
const RUNTIME: &str = "exec /sbin/docker-init: ";

/// Above that, the report would not fit in what is written at once.
const LONGEST_PATH: usize = 2048;

/// More than a report has beside the command's path, in bytes.
const REPORT: usize = 256;

/// The words that run a command with an init process of its own. `number`, which is more than 0, is how
/// often one of its switches is repeated.
pub fn words(command: Vec<String>, number: usize) -> Vec<String> {
    let path = command.first().map_or("", String::as_str);
    let report = if can_report(path) { "v" } else { "" };
    let switches = format!("-{report}{}", "s".repeat(number));
    [INIT.to_owned(), switches, "--".to_owned()].into_iter().chain(command).collect()
}

fn can_report(path: &str) -> bool {
    path.len() <= LONGEST_PATH
}

/// What an init process says of the end of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of the command's process, as the init process sees it.
    pub pid: u32,
    /// `None` if a signal ended the command.
    pub code: Option<i64>,
}

/// Finds the report at the end of a standard output. Holds back what may be the beginning of one.
pub struct Reports {
    path: String,
    held: Vec<u8>,
}

impl Reports {
    /// For the command with this path.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), held: Vec::new() }
    }

    /// Takes a part of the output, and returns what is certainly the command's.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let first = all.len().saturating_sub(self.path.len() + REPORT);
        let is_open = |at: &usize| !matches!(self.read(&all[*at..]), Err(Miss::Other));
        let start = memchr_iter(b'[', &all[first..]).map(|at| first + at).find(is_open);
        if let Some(at) = start {
            self.held = all.split_off(at);
        }
        all
    }

    /// The report, and what was held back and is the command's after all.
    pub fn finish(self) -> (Option<Report>, Vec<u8>) {
        match self.read(&self.held) {
            Ok(report) => (Some(report), Vec::new()),
            Err(_) => (None, self.held),
        }
    }

    fn read(&self, text: &[u8]) -> Result<Report, Miss> {
        let mut rest = Rest(text);
        rest.literal(b"[INFO  tini (")?;
        let own = rest.number()?;
        rest.literal(b")] Spawned child process '")?;
        rest.literal(self.path.as_bytes())?;
        rest.literal(b"' with pid '")?;
        let pid = rest.number()?;
        rest.literal(b"'\n[INFO  tini (")?;
        let same = rest.number()?;
        rest.literal(b")] Main child exited ")?;
        let code = match rest.0.first() {
            Some(b'n') => {
                rest.literal(b"normally (with status '")?;
                Some(i64::from(rest.number()?))
            }
            _ => {
                rest.literal(b"with signal (with signal '")?;
                rest.words()?;
                None
            }
        };
        rest.literal(b"')\n")?;
        if own != same || !rest.0.is_empty() {
            return Err(Miss::Other);
        }
        Ok(Report { pid, code })
    }
}

/// Why a text is no report.
enum Miss {
    /// It may become one.
    Unfinished,
    Other,
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn literal(&mut self, text: &[u8]) -> Result<(), Miss> {
        if let Some(rest) = self.0.strip_prefix(text) {
            self.0 = rest;
            return Ok(());
        }
        Err(if text.starts_with(self.0) { Miss::Unfinished } else { Miss::Other })
    }

    fn number(&mut self) -> Result<u32, Miss> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        if rest.is_empty() && length <= 10 {
            return Err(Miss::Unfinished);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| Miss::Other)?;
        self.0 = rest;
        digits.parse().map_err(|_| Miss::Other)
    }

    /// The name of a signal.
    fn words(&mut self) -> Result<(), Miss> {
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b" -/+,".contains(*byte);
        let length = self.0.iter().take_while(is_part).count();
        if length > 64 {
            return Err(Miss::Other);
        }
        self.0 = &self.0[length..];
        if self.0.is_empty() { Err(Miss::Unfinished) } else { Ok(()) }
    }
}

/// What was said of a command that could not be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitError {
    /// The number of the command's process. `None` if there was not even an init process.
    pub pid: Option<u32>,
    /// In the system's own words.
    pub reason: String,
}

impl InitError {
    /// Reads a whole error output. `None` if the command with this path wrote it.
    pub fn read(output: &[u8], path: &str) -> Option<Self> {
        // As the init process of a terminal does, too.
        let text = String::from_utf8_lossy(output);
        let line = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
        if line.contains('\n') {
            return None;
        }
        if let Some(reason) = line.strip_prefix(RUNTIME) {
            return Some(Self { pid: None, reason: reason.to_lowercase() });
        }
        let rest = line.strip_prefix("[FATAL tini (")?;
        let (pid, rest) = rest.split_once(")] exec ")?;
        // The container's init process, of the command's own.
        if let Some(reason) =
            rest.strip_prefix(INIT).and_then(|rest| rest.strip_prefix(" failed: "))
        {
            return Some(Self { pid: None, reason: reason.to_lowercase() });
        }
        let reason = rest.strip_prefix(path)?.strip_prefix(" failed: ")?;
        Some(Self { pid: Some(pid.parse().ok()?), reason: reason.to_lowercase() })
    }

    /// Whether this may be true of a command with this path, which has ended with `code`. `reports` says
    /// whether its init process reports.
    pub fn fits(&self, path: &str, code: i64, reports: bool, report: Option<Report>) -> bool {
        match (self.pid, report) {
            (Some(pid), Some(report)) => report == Report { pid, code: Some(code) },
            (Some(_), None) => !(reports && can_report(path)),
            (None, report) => report.is_none(),
        }
    }

    /// Whether this may be the beginning of an error output that is one of the init process's.
    pub fn may_begin(output: &[u8], path: &str) -> bool {
        let longest = path.len() + REPORT;
        let line = output.strip_suffix(b"\n").unwrap_or(output);
        [FATAL, RUNTIME.as_bytes()].iter().any(|start| {
            let common = output.len().min(start.len());
            output[..common] == start[..common]
        }) && !line.contains(&b'\n')
            && output.len() <= longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: &str = "[INFO  tini (7)] Spawned child process 'sh' with pid '8'\n\
                          [INFO  tini (7)] Main child exited with signal (with signal 'Killed')\n";
    const EXITED: &str = "[INFO  tini (7)] Spawned child process 'sh' with pid '8'\n\
                          [INFO  tini (7)] Main child exited normally (with status '137')\n";

    /// What comes out when the parts go in: the command's output, and the report.
    fn through(path: &str, parts: &[&[u8]]) -> (Vec<u8>, Option<Report>) {
        let mut reports = Reports::new(path);
        let mut all: Vec<u8> = parts.iter().flat_map(|part| reports.push(part)).collect();
        let (report, rest) = reports.finish();
        all.extend(rest);
        (all, report)
    }

    #[test]
    fn a_report_is_found_however_the_output_is_cut() {
        for (report, code) in [(KILLED, None), (EXITED, Some(137))] {
            for before in ["", "out", "[", "[INFO  tini (7)] ", "a\n[[INFO", KILLED, EXITED] {
                let all = format!("{before}{report}").into_bytes();
                for cut in 0..=all.len() {
                    let (output, found) = through("sh", &[&all[..cut], &all[cut..]]);
                    assert_eq!(String::from_utf8(output).unwrap(), before, "{cut}");
                    assert_eq!(found, Some(Report { pid: 8, code }));
                }
                let bytes: Vec<&[u8]> = all.chunks(1).collect();
                assert_eq!(through("sh", &bytes), (before.into(), Some(Report { pid: 8, code })));
            }
        }
    }

    #[test]
    fn output_that_looks_like_a_report_stays() {
        for text in [
            "",
            "[",
            "[INFO  tini (7)] Spawned child process 'sh' with pid '8'\n",
            &format!("{EXITED}x"),
            &format!("{EXITED}\n"),
            &EXITED.replace("'sh'", "'bash'"),
            &EXITED.replacen("(7)", "(9)", 1),
            &EXITED[..EXITED.len() - 1],
        ] {
            assert_eq!(through("sh", &[text.as_bytes()]), (text.as_bytes().to_vec(), None));
        }
        // What cannot be a report any more is not held back.
        let mut reports = Reports::new("sh");
        assert_eq!(reports.push(b"a [b"), b"a [b");
        assert_eq!(reports.push(b"x ["), b"x ");
        assert_eq!(reports.push(b"=="), b"[==");
    }

    #[test]
    fn complaints_name_their_command() {
        let line = b"[FATAL tini (8)] exec ./a b failed: No such file or directory\n";
        let expected = InitError { pid: Some(8), reason: "no such file or directory".into() };
        assert_eq!(InitError::read(line, "./a b"), Some(expected));
        assert_eq!(InitError::read(line, "sh"), None);
        assert_eq!(InitError::read(&[line, &b"more\n"[..]].concat(), "./a b"), None);
        let line = b"exec /sbin/docker-init: argument list too long\n";
        let expected = InitError { pid: None, reason: "argument list too long".into() };
        assert_eq!(InitError::read(line, "sh"), Some(expected));
        for length in 0..=line.len() {
            assert!(InitError::may_begin(&line[..length], "sh"));
        }
        assert!(!InitError::may_begin(b"sh: x: not found\n", "sh"));
    }
}
