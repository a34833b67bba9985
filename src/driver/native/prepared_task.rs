//! Everything that a task needs around it before it can start.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio_util::sync::CancellationToken;

use super::directories::Lease;
use super::fixtures::{Held, Wait, make_directories};
use super::mounts::MountPlan;
use super::open_files::FileShare;
use super::secrets::SecretPlan;
use super::shared::{Shared, blocking};
use super::user::Owner;
use crate::driver::{DriverError, check};
use crate::task::TaskSpec;
use supervise::start_error::{self, StartError};
use supervise::wire::{self, Launch, Stdio};

/// A task that has been checked.
pub struct TaskPlan {
    pub spec: TaskSpec,
    owner: Option<Owner>,
    mounts: MountPlan,
    secrets: SecretPlan,
    work: Work,
}

/// A task's directory, and where its command starts.
#[derive(Clone)]
pub struct Work {
    /// What paths of mounts are relative to.
    base: Base,
    /// Relative to that, empty for the directory itself, or absolute.
    start: PathBuf,
}

#[derive(Clone, PartialEq)]
enum Base {
    /// A directory that is made for the task or its sandbox, and removed after it.
    Own,
    /// A directory of the machine, which is neither made nor emptied nor removed.
    Foreign(PathBuf),
}

impl TaskPlan {
    /// A task, or a command in a sandbox with this working directory.
    pub async fn prepare(
        shared: &Arc<Shared>,
        spec: &TaskSpec,
        sandbox: Option<Work>,
    ) -> Result<Self, DriverError> {
        check::command(spec)?;
        let is_absolute = |path: &String| Path::new(path).is_absolute();
        if spec.exec.command.user.is_none() && !spec.exec.work_dir.as_ref().is_some_and(is_absolute)
        {
            return Self::new(shared, spec.clone(), sandbox);
        }
        let (shared, spec) = (shared.clone(), spec.clone());
        // The user database and the directory may be on machines that do not answer.
        blocking(move || Self::new(&shared, spec, sandbox)).await?
    }

    fn new(shared: &Shared, spec: TaskSpec, sandbox: Option<Work>) -> Result<Self, DriverError> {
        let work = Work::new(spec.exec.work_dir.as_deref())?;
        let work = match sandbox {
            None => work,
            Some(sandbox) => sandbox.with(work),
        };
        let owner = owner(spec.exec.command.user.as_deref())?;
        let mounts = MountPlan::new(&spec.container.mounts, |name| shared.volume(name))?;
        if mounts.root().is_some() && !work.is_own() {
            return Err(DriverError::Refused(
                "mount path `.`: a volume cannot take the place of a directory of this machine; leave the \
                 absolute `workDir` out, or mount the volume at a path below"
                    .to_owned(),
            ));
        }
        let secrets = SecretPlan::new(&spec.container.secrets, &mounts, work.is_own())?;
        Ok(Self { spec, owner, mounts, secrets, work })
    }

    /// How many mount points have to be held open.
    pub fn held_mount_points(&self, shared: &Shared) -> usize {
        if self.work.is_own() || shared.links() { 0 } else { self.spec.container.mounts.len() }
    }
}

/// The user that a task or a sandbox asks for.
pub fn owner(user: Option<&str>) -> Result<Option<Owner>, DriverError> {
    match user {
        Some(user) => Owner::find(user),
        None => Ok(None),
    }
}

impl Work {
    pub fn is_own(&self) -> bool {
        self.base == Base::Own
    }

    /// Where a command of a sandbox starts that asks for a directory of its own.
    fn with(self, inner: Self) -> Self {
        let start = match inner.base {
            Base::Own if inner.start.as_os_str().is_empty() => self.start,
            Base::Own => self.start.join(inner.start),
            Base::Foreign(path) => path,
        };
        Self { base: self.base, start }
    }

    pub fn new(text: Option<&str>) -> Result<Self, DriverError> {
        let path = Path::new(text.unwrap_or_default());
        let refused = |reason: &str| {
            DriverError::Refused(format!("working directory `{}`: {reason}", path.display()))
        };
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(refused("it contains a NUL byte"));
        }
        if path.is_absolute() {
            return match fs::metadata(path) {
                Ok(found) if found.is_dir() => {
                    Ok(Self { base: Base::Foreign(path.into()), start: PathBuf::new() })
                }
                Ok(_) => Err(refused("it is not a directory")),
                Err(error) => Err(refused(&error.to_string())),
            };
        }
        let mut below = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => below.push(name),
                Component::CurDir => {}
                _ => return Err(refused("`..` leads out of the task's own directory")),
            }
        }
        Ok(Self { base: Base::Own, start: below })
    }
}

/// Whose directories a task uses.
pub enum WorkArea {
    /// Its own, made for it and cleared after it.
    Own(Lease),
    /// A sandbox's.
    Shared(Arc<Lease>),
}

impl WorkArea {
    fn lease(&self) -> &Lease {
        match self {
            Self::Own(lease) => lease,
            Self::Shared(lease) => lease,
        }
    }
}

/// Refuses a mount below a read-only one that has no directory for it.
fn has_point(volume: &Path, point: &Path) -> Result<(), DriverError> {
    if volume.join(point).is_dir() {
        return Ok(());
    }
    Err(DriverError::Refused(format!(
        "mount path `{}`: there is no such directory in the read-only volume above it; make it there before",
        point.display()
    )))
}

/// Refuses arguments and variables that no kernel takes, without sending them to a reaper first.
fn refuse_too_long(launch: &Launch) -> Result<(), DriverError> {
    let words = || std::iter::once(&launch.command).chain(&launch.args).chain(&launch.env);
    let all = words().fold(0_usize, |sum, word| sum.saturating_add(word.len() + 1));
    let longest = words().map(|word| word.len() + 1).max().unwrap_or(0);
    if all <= wire::MAX_ARGUMENTS && longest <= start_error::MAX_STRING {
        return Ok(());
    }
    let reason = StartError::TooLong { longest }.to_string();
    Err(DriverError::CannotStart { command: launch.command.clone(), reason })
}

/// What was made for one task.
pub struct PreparedTask {
    area: WorkArea,
    own_work: bool,
    held: Held,
    /// For what is held open.
    files: FileShare,
}

/// The two sides of a task's standard streams.
pub struct Streams {
    pub ours: Ours,
    pub theirs: Vec<OwnedFd>,
}

pub struct Ours {
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl Streams {
    fn new(with_stdin: bool) -> io::Result<Self> {
        let pipe = || pipe2(OFlag::O_CLOEXEC);
        let mut theirs = Vec::with_capacity(3);
        let mut stdin = None;
        if with_stdin {
            let (reader, writer) = pipe()?;
            theirs.push(reader);
            stdin = Some(writer);
        }
        let (stdout, writer) = pipe()?;
        theirs.push(writer);
        let (stderr, writer) = pipe()?;
        theirs.push(writer);
        Ok(Self { ours: Ours { stdin, stdout, stderr }, theirs })
    }

    pub fn theirs(&self) -> Vec<BorrowedFd<'_>> {
        self.theirs.iter().map(AsFd::as_fd).collect()
    }
}

impl PreparedTask {
    /// Makes everything, or nothing. A wait for others ends when `stop` fires.
    pub fn make(
        shared: &Shared,
        plan: &TaskPlan,
        area: WorkArea,
        stop: &CancellationToken,
    ) -> Result<(Self, Box<Launch>, Streams), DriverError> {
        let own_work = plan.work.is_own();
        let mut prepared = Self { area, own_work, held: Held::default(), files: None };
        match prepared.furnish(shared, plan, stop) {
            Ok((launch, streams)) => Ok((prepared, launch, streams)),
            Err(error) => {
                prepared.clear(shared);
                Err(error)
            }
        }
    }

    /// Keeps a share in the open files for as long as there is something of the task.
    pub fn keep(&mut self, files: FileShare) {
        self.files = files;
    }

    fn furnish(
        &mut self,
        shared: &Shared,
        plan: &TaskPlan,
        stop: &CancellationToken,
    ) -> Result<(Box<Launch>, Streams), DriverError> {
        let owner = plan.owner.as_ref();
        let failed = |what: &str| {
            let context = format!("cannot {what} for task `{}`", plan.spec.name);
            move |source: io::Error| DriverError::Io { context, source }
        };
        if let Some(owner) = owner {
            shared.directories.admit(owner).map_err(failed("make directories"))?;
        }
        if let WorkArea::Own(lease) = &self.area {
            lease.make(self.own_work, owner).map_err(failed("make directories"))?;
        }
        let lease = self.area.lease();
        let mut work = match &plan.work.base {
            Base::Own => lease.work.clone(),
            Base::Foreign(path) => path.clone(),
        };
        if shared.links()
            && let Some(volume) = plan.mounts.root()
        {
            // No link can take the directory's place, so the task starts in the volume.
            work = volume.to_owned();
        }
        let (env, search) =
            shared.environment.of_task(owner, &lease.tmp, plan.spec.exec.variables());
        let mut binds = self.mount(shared, plan, &work, stop)?;
        let below = &plan.work.start;
        if self.own_work && below.is_relative() {
            let (base, below, read_only) = plan.mounts.place(&work, below);
            if !read_only {
                make_directories(base, below, owner)?;
            }
        }
        if plan.spec.container.offline && shared.has_no_namespaces() {
            return Err(DriverError::Refused(
                "a task without a network needs a network namespace, which this system forbids; leave \
                 `network: false` out, or run as root or where user namespaces are allowed"
                    .to_owned(),
            ));
        }
        if !plan.secrets.is_empty() {
            if shared.links() {
                return Err(DriverError::Refused(
                    "a file with a secret needs a mount namespace, which this system forbids; hand the secret \
                     over in `env` or `stdin`, or run where mounts are possible"
                        .to_owned(),
                ));
            }
            plan.secrets.make_points(&work, owner)?;
        }
        if self.own_work && !binds.is_empty() {
            // Tools keep absolute paths in what they make, so all tasks see their directories at one place.
            if plan.mounts.root().is_none() {
                let (source, target) = (work.to_string_lossy().into_owned(), String::new());
                binds.insert(0, wire::Bind { source, target, read_only: false });
            }
            work = shared.directories.common_work();
        }
        let secrets_at = shared.directories.secrets().to_string_lossy().into_owned();
        // Joined with an empty path, it would end in a slash.
        let is_start = below.as_os_str().is_empty();
        let start = if is_start { work.clone() } else { work.join(below) };
        let with_stdin = plan.spec.exec.stdin.is_some();
        let launch = Launch {
            command: plan.spec.exec.command.path.clone(),
            args: plan.spec.exec.command.args.clone(),
            env,
            search,
            directory: start.to_string_lossy().into_owned(),
            stdio: if with_stdin { Stdio::PipesWithStdin } else { Stdio::Pipes },
            mounts_at: work.to_string_lossy().into_owned(),
            binds,
            secrets_at,
            secrets: plan.secrets.files(),
            fixtures: shared.fixtures.of(&self.held),
            offline: plan.spec.container.offline,
            credentials: owner.map(Owner::credentials),
        };
        refuse_too_long(&launch)?;
        let streams = Streams::new(with_stdin).map_err(failed("make pipes"))?;
        Ok((Box::new(launch), streams))
    }

    /// Prepares the mount points, or makes the links that stand in for mounts.
    fn mount(
        &mut self,
        shared: &Shared,
        plan: &TaskPlan,
        directory: &Path,
        stop: &CancellationToken,
    ) -> Result<Vec<wire::Bind>, DriverError> {
        let (mounts, owner) = (&plan.mounts, plan.owner.as_ref());
        if let Some(owner) = owner {
            mounts.give_to(owner).map_err(|source| DriverError::Io {
                context: format!("cannot give a volume to user `{}`", owner.name),
                source,
            })?;
        }
        if !shared.links() {
            for (base, point, read_only) in mounts.points(directory) {
                if read_only {
                    has_point(base, point)?;
                } else if self.own_work || base != directory {
                    make_directories(base, point, owner)?;
                } else {
                    let wait = Wait { stop, notices: &shared.notices };
                    shared.fixtures.point(base, point, owner, &wait, &mut self.held)?;
                }
            }
            return Ok(mounts.binds().collect());
        }
        if mounts.has_read_only() {
            return Err(DriverError::Refused(
                "a read-only mount needs a mount namespace, which this system forbids; leave \
                 `readOnly` out, or run where mounts are possible"
                    .to_owned(),
            ));
        }
        if let Some((above, below)) = mounts.nested() {
            return Err(DriverError::Refused(format!(
                "mount path `{}`: it is below the mount at `{}`, which is a link here; mount it \
                 elsewhere, or run where mounts are possible",
                below.display(),
                above.display()
            )));
        }
        for (volume, target) in mounts.targets() {
            shared.fixtures.link(volume, directory, target, owner, &mut self.held)?;
        }
        Ok(Vec::new())
    }

    /// Takes everything away again, when nothing of the task runs any more.
    pub fn clear(self, shared: &Shared) -> WorkArea {
        shared.fixtures.release(self.held);
        if let WorkArea::Own(lease) = &self.area {
            // What cannot be removed now stays for the end of the run, which reports it.
            let _ = lease.clear(self.own_work);
        }
        self.area
    }
}
