//! What a task is: plain data that the runtime fills in and a driver carries out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use mask::SecretValue;

use crate::volume_name::VolumeName;

/// One command to run, with everything that a driver needs to know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Unique and stable within a run.
    pub id: TaskId,
    /// What the pipeline calls the task. Any text; several tasks may share it.
    pub name: String,
    pub container: ContainerSpec,
    pub exec: ExecSpec,
    /// Whether what the command ran in stays when it has ended, for a shell.
    pub keep: bool,
}

/// What is around a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// Drivers without images ignore it.
    pub image: String,
    pub mounts: Vec<Mount>,
    pub secrets: Vec<SecretFile>,
    pub privileged: bool,
    /// Whether commands reach no network but their own loopback interface.
    pub offline: bool,
    pub limits: Limits,
}

/// A file in memory with a secret, which the task's user alone can read, and which is gone with the task.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretFile {
    /// Relative to the task's directory, or absolute. Checked: no `..`, not empty, not a directory.
    pub path: PathBuf,
    pub value: SecretValue,
}

/// A command and how it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecSpec {
    pub command: Command,
    /// Variables that the pipeline sets, in its order.
    pub env: Vec<(String, String)>,
    /// Variables with secrets. None of them has a name that `env` has, too.
    pub secret_env: Vec<(String, SecretValue)>,
    /// Where the command starts: relative to the task's directory, which paths of mounts are relative to as
    /// well, or an absolute path, which takes the place of that directory. `None` is the directory itself, or
    /// the sandbox's.
    pub work_dir: Option<String>,
    /// What the command reads from its standard input; nothing when `None`.
    pub stdin: Option<Vec<u8>>,
}

/// A container in which several commands run, one after the other or at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSpec {
    pub name: String,
    pub container: ContainerSpec,
    /// Who runs a command that does not say that itself.
    pub user: Option<String>,
    /// Variables of all commands.
    pub env: Vec<(String, String)>,
    /// Variables of all commands with secrets. None of them has a name that `env` has, too.
    pub secret_env: Vec<(String, SecretValue)>,
    pub work_dir: Option<String>,
}

/// What a text takes beside its bytes.
const PER_TEXT: usize = 64;

impl TaskSpec {
    /// How much memory its texts take, in bytes, without what the command reads.
    pub fn size(&self) -> usize {
        let Command { path, args, user } = &self.exec.command;
        let texts = [path, &self.name].into_iter();
        let texts = texts.chain(args).chain(user).chain(&self.exec.work_dir);
        let env = size_of_env(&self.exec.env) + size_of_secrets(&self.exec.secret_env);
        size_of_texts(texts) + env + self.container.size()
    }

    /// A sandbox for this task alone.
    pub fn sandbox(&self) -> SandboxSpec {
        SandboxSpec {
            name: self.name.clone(),
            container: self.container.clone(),
            user: self.exec.command.user.clone(),
            env: self.exec.env.clone(),
            secret_env: self.exec.secret_env.clone(),
            work_dir: self.exec.work_dir.clone(),
        }
    }
}

impl ExecSpec {
    /// All variables, with those that are secrets.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let plain = self.env.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(&**value)));
        plain.chain(
            self.secret_env
                .iter()
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.expose()))),
        )
    }
}

impl ContainerSpec {
    fn size(&self) -> usize {
        let mount = |Mount { volume, path, .. }: &Mount| {
            volume.as_str().len() + path.as_os_str().len() + 2 * PER_TEXT
        };
        let secret = |SecretFile { path, .. }: &SecretFile| path.as_os_str().len() + 2 * PER_TEXT;
        size_of_texts([&self.image].into_iter())
            + self.mounts.iter().map(mount).sum::<usize>()
            + self.secrets.iter().map(secret).sum::<usize>()
    }
}

impl SandboxSpec {
    /// Whether it has any secret, as a variable or as a file.
    pub fn has_secrets(&self) -> bool {
        !self.secret_env.is_empty() || !self.container.secrets.is_empty()
    }

    /// How much memory its texts take, in bytes.
    pub fn size(&self) -> usize {
        let texts = [&self.name].into_iter().chain(&self.user).chain(&self.work_dir);
        let env = size_of_env(&self.env) + size_of_secrets(&self.secret_env);
        size_of_texts(texts) + env + self.container.size()
    }

    /// A command in this sandbox as a task: what it does not say itself is as in the sandbox, but for
    /// `work_dir`. Its variables are added to the sandbox's, and preferred to them.
    pub fn task(&self, id: TaskId, name: Option<String>, exec: ExecSpec) -> TaskSpec {
        let Command { path, args, user } = exec.command;
        let command = Command { path, args, user: user.or_else(|| self.user.clone()) };
        let (env, secret_env) = self.variables(exec.env, exec.secret_env);
        TaskSpec {
            id,
            name: name.unwrap_or_else(|| self.name.clone()),
            container: self.container.clone(),
            exec: ExecSpec { command, env, secret_env, ..exec },
            keep: false,
        }
    }

    /// The variables of a command: the sandbox's, and its own, which count where both have a name.
    fn variables(&self, env: Env, secret_env: SecretEnv) -> (Env, SecretEnv) {
        let own: HashSet<&str> = names(&env).chain(names(&secret_env)).collect();
        let mut all = others(&self.env, &own);
        let mut all_secret = others(&self.secret_env, &own);
        drop(own);
        all.extend(env);
        all_secret.extend(secret_env);
        (all, all_secret)
    }
}

type Env = Vec<(String, String)>;
type SecretEnv = Vec<(String, SecretValue)>;

fn names<T>(env: &[(String, T)]) -> impl Iterator<Item = &str> {
    env.iter().map(|(name, _)| name.as_str())
}

fn others<T: Clone>(env: &[(String, T)], own: &HashSet<&str>) -> Vec<(String, T)> {
    env.iter().filter(|(name, _)| !own.contains(name.as_str())).cloned().collect()
}

fn size_of_texts<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| text.len() + PER_TEXT).sum()
}

fn size_of_env(env: &[(String, String)]) -> usize {
    size_of_texts(env.iter().flat_map(|(name, value)| [name, value]))
}

/// The values are the run's, however many tasks have them.
fn size_of_secrets(env: &[(String, SecretValue)]) -> usize {
    env.iter().map(|(name, _)| name.len() + 2 * PER_TEXT).sum()
}

/// A task's number within its run, counted from 1 in the order in which tasks were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An argument vector. No shell is involved unless `path` names one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// A path, or a name to look up in the task's `PATH`.
    pub path: String,
    pub args: Vec<String>,
    /// `name`, `uid`, `name:group` or `uid:gid`; `None` is the driver's default.
    pub user: Option<String>,
}

/// A volume and the place where the task sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    pub volume: VolumeName,
    /// Relative to the task's directory, or absolute where the driver can do that. `.` puts the volume in the
    /// place of the directory. Checked: no `..`, not empty.
    pub path: PathBuf,
    /// Whether the task cannot change the volume.
    pub read_only: bool,
}

/// Upper bounds on what a task may use; `None` is the driver's default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// In cores.
    pub cpu: Option<f64>,
    /// In bytes.
    pub memory: Option<u64>,
}

/// One of the two streams that a task writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The largest number of a signal.
const SIGNALS: i32 = 64;

/// How a task's command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskExit {
    /// It returned this exit code.
    Code(i32),
    /// It returned this exit code, and before that the system had ended something that it had started, for
    /// want of memory.
    CodeAfterKill(i32),
    /// This signal ended it.
    Signal(i32),
    /// The system ended it because it used more memory than it may.
    OutOfMemory,
    /// The caller cancelled it; nothing of it is running any more.
    Cancelled,
}

impl TaskExit {
    /// The code that a shell would report: 128 and the signal's number for a signal.
    /// `None` for a task that was cancelled.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) | Self::CodeAfterKill(code) => Some(code),
            Self::Signal(signal) => Some(128 + signal),
            Self::OutOfMemory => Some(128 + 9),
            Self::Cancelled => None,
        }
    }

    /// Whether the command returned by itself, and all that it waited for did, as far as that shows. What was
    /// ended may have been in the middle of a write, whoever ended it: a signal, the system or the caller.
    ///
    /// A shell returns 128 and a signal's number when the signal has ended its last command. A program may
    /// return such a code for reasons of its own, but nobody can tell.
    pub fn ended_by_itself(self) -> bool {
        match self {
            Self::Code(code) => !(129..=128 + SIGNALS).contains(&code),
            Self::CodeAfterKill(_) | Self::Signal(_) | Self::OutOfMemory | Self::Cancelled => false,
        }
    }

    pub fn is_success(self) -> bool {
        self.code() == Some(0)
    }
}
