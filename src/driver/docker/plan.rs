//! What a task or a sandbox becomes as a container.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, MountVolumeOptions, NetworkingConfig,
};

use super::diagnosis::check_length;
use super::labels::{self, Labels};
use crate::driver::{DriverError, check};
use crate::task::{Command, SandboxSpec, SecretFile, TaskSpec};
use crate::volume::VolumeName;

/// The directory of a task, the same for all tasks of all runs: tools keep absolute paths in what they make.
const WORK: &str = "/ci/work";

/// Where a container with secrets has a file system in memory.
pub const SECRETS: &str = "/ci/secrets";

/// In cores. The kernel counts in 1 ms of 100.
const LEAST_CPU: f64 = 0.01;

/// What a container is connected to.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// Nothing but a loopback interface.
    None,
    /// The engine's own.
    Default,
    /// One that the user has named.
    Named(String),
    /// The run's, in which its tasks reach each other by their names.
    Own(String),
}

/// Surroundings that have been checked.
pub struct ContainerPlan {
    pub spec: SandboxSpec,
    /// What paths of mounts are relative to.
    base: String,
    /// Where commands start.
    work: String,
    mounts: Vec<PlannedMount>,
    /// The absolute paths of files with secrets, in their order.
    secrets: Vec<String>,
}

struct PlannedMount {
    /// The engine's name of it.
    volume: String,
    /// An absolute path.
    target: String,
    read_only: bool,
}

impl ContainerPlan {
    /// `find` gives the engine's name of a volume that exists.
    pub fn new(
        spec: SandboxSpec,
        find: impl Fn(&VolumeName) -> Option<String>,
    ) -> Result<Self, DriverError> {
        check::variables(&spec.env, &spec.secret_env)?;
        if spec.container.limits.cpu.is_some_and(|cores| cores < LEAST_CPU) {
            return Err(DriverError::Refused(format!(
                "a container has at least {LEAST_CPU} of a core, raise its limit of `cpu`"
            )));
        }
        let work = directory(Path::new(WORK), spec.work_dir.as_deref())?;
        let is_absolute = spec.work_dir.as_ref().is_some_and(|path| Path::new(path).is_absolute());
        let base = if is_absolute { work.clone() } else { WORK.to_owned() };
        let mut mounts: Vec<PlannedMount> = Vec::with_capacity(spec.container.mounts.len());
        for mount in &spec.container.mounts {
            let refused = |reason: &str| {
                DriverError::Refused(format!("mount path `{}`: {reason}", mount.path.display()))
            };
            let volume = find(&mount.volume).ok_or_else(|| {
                DriverError::Refused(format!(
                    "there is no volume `{}`, create it before a task mounts it",
                    mount.volume
                ))
            })?;
            let target = resolved(Path::new(&base), &mount.path).map_err(refused)?;
            if target == "/" {
                return Err(refused("a volume cannot replace `/`, mount it at a path below"));
            }
            if spec.has_secrets() && Path::new(SECRETS).starts_with(&target)
                || Path::new(&target).starts_with(SECRETS)
            {
                return Err(refused("`ci` keeps secrets there, mount it elsewhere"));
            }
            if mounts.iter().any(|other| other.target == target) {
                let shown = match Path::new(&target).strip_prefix(&base) {
                    Ok(path) if path.as_os_str().is_empty() => ".".into(),
                    Ok(path) => path.to_string_lossy(),
                    Err(_) => target.into(),
                };
                return Err(DriverError::Refused(format!(
                    "two volumes are mounted at `{shown}`, choose another path for one"
                )));
            }
            mounts.push(PlannedMount { volume, target, read_only: mount.read_only });
        }
        let secrets = secret_paths(&spec.container.secrets, &base, &mounts)?;
        Ok(Self { spec, base, work, mounts, secrets })
    }

    /// Whether the container starts with the [launcher](super::secrets).
    pub fn has_secrets(&self) -> bool {
        self.spec.has_secrets()
    }

    /// The path of a mount below a read-only one, if there is one.
    pub fn below_read_only(&self) -> Option<std::path::Display<'_>> {
        let is_above = |above: &PlannedMount, path: &str| {
            above.read_only && above.target != path && Path::new(path).starts_with(&above.target)
        };
        let of = self.spec.container.mounts.iter().zip(&self.mounts);
        let mut below = of.filter(|(_, planned)| {
            self.mounts.iter().any(|above| is_above(above, &planned.target))
        });
        below.next().map(|(mount, _)| mount.path.display())
    }

    /// Where files with secrets are.
    pub fn secret_paths(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }

    /// The working directory, as an absolute path.
    pub fn directory(&self) -> &str {
        &self.work
    }

    /// What there is to say of something else where the working directory is to be.
    pub fn no_directory(&self) -> DriverError {
        let given = self.spec.work_dir.as_deref().unwrap_or(&self.work);
        DriverError::Refused(format!("working directory `{given}`: it is not a directory"))
    }

    /// Where a command starts that asks for this directory, which is relative to the plan's own.
    pub fn start(&self, work_dir: Option<&str>) -> Result<String, DriverError> {
        directory(Path::new(&self.work), work_dir)
    }

    /// The container for a command.
    pub fn container(
        &self,
        labels: &Labels,
        network: Network,
        command: Vec<String>,
        with_stdin: bool,
    ) -> ContainerCreateBody {
        let Self { spec, work, mounts, .. } = self;
        let mut labels = labels.clone();
        labels.insert(labels::NAME.to_owned(), spec.name.replace('\0', ""));
        let (network_mode, networking_config) = match network {
            Network::None => (Some("none".to_owned()), None),
            Network::Default => (None, None),
            Network::Named(name) => (Some(name), None),
            Network::Own(id) => {
                let aliases = Some(host_name(&spec.name).into_iter().collect());
                let endpoint = EndpointSettings { aliases, ..Default::default() };
                let endpoints_config = Some(HashMap::from([(id.clone(), endpoint)]));
                (Some(id), Some(NetworkingConfig { endpoints_config }))
            }
        };
        let tmpfs = (!spec.container.secrets.is_empty()).then(|| {
            let options = secret_options(&spec.container.secrets);
            HashMap::from([(SECRETS.to_owned(), options)])
        });
        let memory =
            spec.container.limits.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let host = HostConfig {
            mounts: Some(mounts.iter().map(|mount| mount.to_engine(&labels)).collect()),
            network_mode,
            tmpfs,
            privileged: Some(spec.container.privileged),
            memory,
            // No swap on top of it.
            memory_swap: memory,
            nano_cpus: spec.container.limits.cpu.map(|cores| (cores * 1e9) as i64),
            // Somebody has to reap what a command leaves behind, and the first process of a container
            // would ignore signals that it does not handle.
            init: Some(true),
            // The log has what the task writes; a second copy would fill the engine's disk.
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            ..Default::default()
        };
        ContainerCreateBody {
            image: Some(spec.container.image.clone()),
            // An image's own would run the command as an argument.
            entrypoint: Some(Vec::new()),
            cmd: Some(command),
            env: Some(environment(plain(&spec.env))),
            user: spec.user.clone(),
            working_dir: Some(work.clone()),
            open_stdin: Some(with_stdin),
            stdin_once: Some(with_stdin),
            attach_stdin: Some(with_stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".into()]),
                ..Default::default()
            }),
            labels: Some(labels),
            host_config: Some(host),
            networking_config,
            ..Default::default()
        }
    }

    /// Volumes and the engine's names of them.
    pub fn volumes(&self) -> impl Iterator<Item = (&VolumeName, &str)> {
        let names = self.spec.container.mounts.iter().map(|mount| &mount.volume);
        names.zip(self.mounts.iter().map(|mount| mount.volume.as_str()))
    }

    /// The directories that the user has to be able to write to, each after those above it.
    pub fn writable(&self) -> BTreeSet<&Path> {
        let targets = || self.mounts.iter().map(|mount| Path::new(&mount.target));
        // Nothing of an image is where the directories of tasks are. What is in a volume stays as it is.
        let is_made = |path: &&Path| {
            path.starts_with(WORK)
                && !targets().any(|target| path.starts_with(target) && *path != target)
        };
        let above = self.secrets.iter().filter_map(|path| Path::new(path).parent());
        let own = [Path::new(&self.base), Path::new(&self.work)];
        let made = targets().chain(own).chain(above);
        let volumes = self.mounts.iter().filter(|mount| !mount.read_only);
        let volumes = volumes.map(|mount| Path::new(&mount.target));
        let is_read_only = |path: &Path| {
            self.mounts.iter().any(|mount| mount.read_only && Path::new(&mount.target) == path)
        };
        let made = made.flat_map(Path::ancestors).filter(is_made);
        made.filter(|path| !is_read_only(path)).chain(volumes).collect()
    }
}

impl PlannedMount {
    fn to_engine(&self, labels: &Labels) -> Mount {
        Mount { read_only: Some(self.read_only), ..mount(labels, &self.volume, &self.target) }
    }
}

/// A volume by the engine's name at an absolute path. If somebody has removed it, the engine makes another one,
/// with these labels and one that tells.
pub fn mount(labels: &Labels, volume: &str, target: &str) -> Mount {
    let mut labels = labels.clone();
    labels.insert(labels::SUBSTITUTE.to_owned(), String::new());
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.to_owned()),
        target: Some(target.to_owned()),
        volume_options: Some(MountVolumeOptions {
            // A volume holds what tasks put into it, and nothing of an image.
            no_copy: Some(true),
            labels: Some(labels),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The words of a command that has been checked. Without a path these are arguments of the image's own command.
pub fn command(spec: &TaskSpec) -> Result<Vec<String>, DriverError> {
    check::command(spec)?;
    check_length(spec)?;
    let Command { path, args, .. } = &spec.exec.command;
    Ok([path].into_iter().filter(|path| !path.is_empty()).chain(args).cloned().collect())
}

/// A task's name as one of a machine, if anything of it can be part of that.
fn host_name(name: &str) -> Option<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name.chars().map(|c| if usual(c) { c } else { '-' }).take(63).collect();
    let name = name.trim_matches(['-', '.']);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn directory(base: &Path, given: Option<&str>) -> Result<String, DriverError> {
    let given = given.unwrap_or_default();
    resolved(base, Path::new(given))
        .map_err(|reason| DriverError::Refused(format!("working directory `{given}`: {reason}")))
}

/// An absolute path without `.` and `..`, from one that may be relative.
fn resolved(base: &Path, path: &Path) -> Result<String, &'static str> {
    let mut absolute = if path.is_absolute() { PathBuf::from("/") } else { base.to_owned() };
    for part in path.components() {
        match part {
            Component::Normal(name) => absolute.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err("`..` leads out of the working directory");
            }
        }
    }
    let text = absolute.into_os_string().into_string().map_err(|_| "it is not valid UTF-8")?;
    if text.contains('\0') {
        return Err("it contains a NUL byte");
    }
    Ok(text)
}

/// How the file system in memory is mounted: for the command's user, whoever that is.
fn secret_options(files: &[SecretFile]) -> String {
    let size: usize = files.iter().map(|file| file.value.expose().len() + (16 << 10)).sum();
    format!("rw,noexec,nosuid,nodev,mode=1777,size={size}")
}

/// The absolute paths of files with secrets, none of which is in a volume.
fn secret_paths(
    files: &[SecretFile],
    base: &str,
    mounts: &[PlannedMount],
) -> Result<Vec<String>, DriverError> {
    let mut paths: Vec<String> = Vec::with_capacity(files.len());
    for file in check::secret_files(files)? {
        let refused = |reason: &str| {
            DriverError::Refused(format!("secret file `{}`: {reason}", file.path.display()))
        };
        let path = resolved(Path::new(base), &file.path).map_err(refused)?;
        if mounts.iter().any(|mount| Path::new(&path).starts_with(&mount.target)) {
            return Err(refused(
                "it would be in a volume, which keeps what is in it; use a path below `/run`, such as \
                 `/run/secrets/key`",
            ));
        }
        if Path::new(&path).components().count() < 3 || Path::new(WORK).starts_with(&path) {
            return Err(refused("it is a directory of the container, name a file below one"));
        }
        // The engine mounts these anew, over what is put there before.
        if ["/proc", "/sys", "/dev", "/ci/launch", SECRETS]
            .iter()
            .any(|taken| Path::new(&path).starts_with(taken))
        {
            return Err(refused("the container itself has that path, choose another one"));
        }
        if paths.contains(&path) {
            return Err(refused("there is a secret at this path already"));
        }
        paths.push(path);
    }
    Ok(paths)
}

/// Variables without secrets.
pub fn plain(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    pairs.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str())))
}

/// `NAME=value`; the last value of a name counts.
pub fn environment<'a>(pairs: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> Vec<String> {
    let pairs: Vec<_> = pairs.collect();
    let last: HashMap<&str, usize> =
        pairs.iter().enumerate().map(|(index, (name, _))| (*name, index)).collect();
    let kept = pairs.iter().enumerate().filter(|(index, (name, _))| last.get(name) == Some(index));
    kept.map(|(_, (name, value))| format!("{name}={value}")).collect()
}
