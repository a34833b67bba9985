//! A user's home, repositories, and the program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

pub struct World {
    root: tempfile::TempDir,
}

/// How the program ended.
pub struct Answer {
    pub is_success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert!(self.is_success, "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The message, if nothing was answered.
    #[track_caller]
    pub fn error(&self) -> &str {
        assert!(!self.is_success && self.stdout.is_empty(), "{}{}", self.stdout, self.stderr);
        &self.stderr
    }

    #[track_caller]
    pub fn fails_with(&self, text: &str) {
        assert!(self.error().contains(text), "`{text}` is not in: {}", self.stderr);
    }
}

impl World {
    pub fn new() -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        for folder in ["home", "tmp"] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        fs::write(
            world.path("home/.gitconfig"),
            "[user]\nname = Ann\nemail = ann@example.com\n[init]\ndefaultBranch = main\n[protocol \"file\"]\nallow = always\n",
        )
        .unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.root.path());
        command
    }

    pub fn git(&self, folder: &str, args: &[&str]) -> String {
        let output =
            self.command("git").args(args).current_dir(self.path(folder)).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// A repository with the branch `main` and no commits, which can be pushed to.
    pub fn repository(&self, name: &str) -> Repository<'_> {
        fs::create_dir(self.path(name)).unwrap();
        self.git(name, &["init", "--quiet"]);
        self.git(name, &["config", "receive.denyCurrentBranch", "ignore"]);
        Repository { world: self, name: name.to_owned() }
    }

    pub fn program() -> PathBuf {
        let tests = std::env::current_exe().unwrap();
        tests.parent().and_then(Path::parent).unwrap().join("examples/resource")
    }

    pub fn run(
        &self,
        kind: &str,
        action: &str,
        directory: Option<&str>,
        request: &Value,
    ) -> Answer {
        let mut command = self.command(Self::program());
        command.args([kind, action]).args(directory.map(|directory| self.path(directory)));
        finish(command, request)
    }

    pub fn check(&self, source: &Value, version: &Value) -> Answer {
        self.run("git", "check", None, &json!({ "source": source, "version": version }))
    }

    /// The versions of a check, by one field.
    #[track_caller]
    pub fn refs(&self, source: &Value, version: &Value) -> Vec<String> {
        let found = self.check(source, version).json();
        let versions = found.as_array().unwrap();
        versions.iter().map(|version| version["ref"].as_str().unwrap().to_owned()).collect()
    }

    pub fn get(&self, source: &Value, reference: &str, params: &Value) -> Answer {
        let version = json!({ "ref": reference });
        self.run(
            "git",
            "in",
            Some("got"),
            &json!({ "source": source, "version": version, "params": params }),
        )
    }

    pub fn put(&self, source: &Value, params: &Value) -> Answer {
        self.run("git", "out", Some("artifacts"), &json!({ "source": source, "params": params }))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    #[track_caller]
    pub fn left_nothing(&self) {
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

pub fn finish(mut command: Command, request: &Value) -> Answer {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may have seen already that something is wrong.
    _ = child.stdin.take().unwrap().write_all(request.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    Answer {
        is_success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub struct Repository<'w> {
    world: &'w World,
    pub name: String,
}

impl Repository<'_> {
    pub fn git(&self, args: &[&str]) -> String {
        self.world.git(&self.name, args)
    }

    pub fn uri(&self) -> String {
        format!("file://{}", self.world.path(&self.name).display())
    }

    /// Changes a file and commits that.
    pub fn commit(&self, file: &str, message: &str) -> String {
        let path = self.world.path(&self.name).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(format!("{message}\n").as_bytes()).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.head()
    }

    /// A commit of its own on each call, at a later second than the last one.
    pub fn tag(&self, name: &str, second: u32) {
        let date = format!("2026-01-01T00:00:{second:02}Z");
        let mut command = self.world.command("git");
        command.args(["tag", "--annotate", "--force", "--message", name, name]);
        command.env("GIT_COMMITTER_DATE", date).current_dir(self.world.path(&self.name));
        assert!(command.output().unwrap().status.success());
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }
}
