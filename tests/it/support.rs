//! A pipeline in, everything that a user would see out.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A run of `ci` in a directory of its own.
pub struct Ci {
    dir: Directory,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

/// A directory of its own.
struct Directory {
    path: PathBuf,
    _parent: TempDir,
}

impl Directory {
    fn new(name: &str) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(name);
        std::fs::create_dir(&path).unwrap();
        Self { path, _parent: parent }
    }
}

impl Ci {
    /// In a project that has the same name in all tests, as copies of one have.
    pub fn new() -> Self {
        Self::named("project")
    }

    /// In a project of this name.
    pub fn named(name: &str) -> Self {
        Self { dir: Directory::new(name), args: Vec::new(), env: Vec::new() }
    }

    /// `ci run pipeline.ts` with this body of the pipeline's function.
    pub fn pipeline(body: &str) -> Self {
        Self::module(&format!("export const pipeline = async () => {{\n{body}\n}};\n"))
    }

    /// `ci run pipeline.ts` with this source.
    pub fn module(source: &str) -> Self {
        Self::new().file("pipeline.ts", source).args(["run", "pipeline.ts"])
    }

    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// The directory that the binary is started in.
    pub fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// Where the native driver keeps what it makes.
    pub fn state(&self) -> PathBuf {
        self.dir.path.join(".state")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ci"));
        command
            .args(&self.args)
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .env_remove("CI")
            .env_remove("CI_DRIVER")
            .env_remove("CI_CACHE")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("XDG_CACHE_HOME", self.state())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(self) -> Outcome {
        let output = self.command().output().unwrap();
        Outcome::new(&output, self.dir)
    }

    pub fn spawn(&self) -> Child {
        self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// What a user sees of a run that has ended.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    dir: Directory,
}

impl Outcome {
    fn new(output: &Output, dir: Directory) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            dir,
        }
    }

    /// The directory that the binary was started in.
    pub fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// Fails the test with all that was printed unless the run ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.transcript());
        self
    }

    #[track_caller]
    pub fn lacks(self, part: &str) -> Self {
        let both = [&self.stdout, &self.stderr];
        assert!(!both.iter().any(|text| text.contains(part)), "`{part}` in\n{}", self.transcript());
        self
    }

    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no `{part}` in\n{}", self.transcript());
        self
    }

    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no `{part}` in\n{}", self.transcript());
        self
    }

    /// Everything that was printed, without what differs from run to run.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        _ = writeln!(text, "exit code: {}", self.code);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                _ = writeln!(text, "--- {name}\n{}", self.stable(stream).trim_end());
            }
        }
        text
    }

    fn stable(&self, text: &str) -> String {
        let dir = self.dir.path.display().to_string();
        let mut text = text.replace(&dir, "<dir>").replace(env!("CARGO_BIN_EXE_ci"), "<ci>");
        for (pattern, name) in [
            (r"\b\d+h \d\dm\b|\b\d+m \d\ds\b|\b\d+(\.\d+)?m?s\b", "<time>"),
            (r"pipeline-[0-9a-f]{8}\b", "<pipeline>"),
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<run>"),
        ] {
            text = regex::Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
        }
        // A table's columns are as wide as what they hold.
        let lines = text.lines().map(|line| match line.contains("<time>") {
            true => line.split_whitespace().collect::<Vec<_>>().join(" "),
            false => line.trim_end().to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
