//! A share in the number of files that this process may have open.
//!
//! The limit on open files bounds the number of tasks in one process. Each task holds a share for each file
//! that it has open here, and returns the share when the file is closed. So a background process holds one
//! share for its reaper's channel and one for each stream that it keeps open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::driver::{DriverError, NoticeSink};

/// Files that a task has open in this process. Each share is given back when its files are closed:
/// processes that a command leaves behind keep their reaper's channel, and keep the streams only while
/// they have those open themselves.
#[derive(Debug)]
pub struct TaskFiles {
    pub channel: FileShare,
    pub stdin: FileShare,
    pub stdout: FileShare,
    pub stderr: FileShare,
    /// Mount points in a directory of the machine, which are held open.
    pub mount_points: FileShare,
    /// What only the start of a task needs: the other sides of the streams and of the channel, and the
    /// directories that are made.
    pub start: FileShare,
    /// To be kept as long as any of these.
    pub holder: Holder,
}

pub type FileShare = Option<OwnedSemaphorePermit>;

const FOR_START: u32 = 8;

/// How long a task waits for its share before the user is told, and how long no command may run before it
/// waits in vain.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many tasks an error names.
const NAMED: usize = 3;

/// All that the tasks of a run may have open.
#[derive(Debug)]
pub struct OpenFiles {
    files: Arc<Semaphore>,
    total: u32,
    limit: u64,
    usage: Arc<Mutex<Usage>>,
}

/// Who has files open.
#[derive(Debug)]
struct Usage {
    /// The tasks, and how often each.
    holders: BTreeMap<String, usize>,
    /// How many of their commands have not ended.
    commands: usize,
    /// When the last of these has ended, while there is none.
    idle: Instant,
}

/// A task that has files open.
#[derive(Debug)]
pub struct Holder {
    name: String,
    usage: Arc<Mutex<Usage>>,
}

/// A command that has not ended.
#[derive(Debug)]
pub struct Running(Arc<Mutex<Usage>>);

impl Drop for Holder {
    fn drop(&mut self) {
        let mut usage = lock(&self.usage);
        if let Some(count) = usage.holders.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                usage.holders.remove(&self.name);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut usage = lock(&self.0);
        usage.commands -= 1;
        usage.idle = Instant::now();
    }
}

/// No holder can panic.
fn lock(usage: &Mutex<Usage>) -> MutexGuard<'_, Usage> {
    usage.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenFiles {
    /// `total` is what a process with this limit can spare for tasks.
    pub fn new(total: u32, limit: u64) -> Self {
        let usage = Usage { holders: BTreeMap::new(), commands: 0, idle: Instant::now() };
        let (files, usage) =
            (Arc::new(Semaphore::new(total as usize)), Arc::new(Mutex::new(usage)));
        Self { files, total, limit, usage }
    }

    /// Waits until a task may open its files. Dropping the future gives the place in the queue back.
    ///
    /// It is an error if nothing but processes that commands have left behind has files open: these may stay
    /// for ever.
    pub async fn acquire(
        &self,
        notices: &NoticeSink,
        task: &str,
        with_stdin: bool,
        mount_points: usize,
    ) -> Result<(TaskFiles, Running), DriverError> {
        let mount_points = u32::try_from(mount_points).unwrap_or(u32::MAX);
        let stdin = u32::from(with_stdin);
        let all = mount_points.saturating_add(3 + stdin + FOR_START);
        if all > self.total {
            return Err(DriverError::Refused(format!(
                "{all} files have to be open for this task and {} can be, raise the limit of {} with \
                 `ulimit -n`",
                self.total, self.limit
            )));
        }
        let mut acquired = std::pin::pin!(self.files.clone().acquire_many_owned(all));
        let mut is_told = false;
        let acquired = loop {
            tokio::select! {
                biased;
                acquired = &mut acquired => break acquired,
                () = sleep(PATIENCE) => {}
            }
            if !is_told {
                is_told = true;
                notices(format!(
                    "tasks wait until others have ended, because `ci` may not open more than {} \
                     files; processes that tasks leave in the background count as well; raise the \
                     limit with `ulimit -n`",
                    self.limit
                ));
            } else if let Some(holders) = self.left_behind() {
                return Err(DriverError::Refused(format!(
                    "task `{task}` cannot start: `ci` may not open more than {} files, and processes \
                     that have been left in the background keep them open, those of {holders}; let \
                     them close their output, end them, or raise the limit with `ulimit -n`",
                    self.limit
                )));
            }
        };
        let closed = |_| DriverError::Refused("the run has ended".to_owned());
        let mut rest = acquired.map_err(closed)?;
        let (holder, running) = self.count(task);
        let files = TaskFiles {
            channel: rest.split(1),
            stdin: rest.split(stdin as usize),
            stdout: rest.split(1),
            stderr: rest.split(1),
            mount_points: rest.split(mount_points as usize),
            start: Some(rest),
            holder,
        };
        Ok((files, running))
    }

    fn count(&self, task: &str) -> (Holder, Running) {
        let mut usage = lock(&self.usage);
        *usage.holders.entry(task.to_owned()).or_default() += 1;
        usage.commands += 1;
        let holder = Holder { name: task.to_owned(), usage: self.usage.clone() };
        (holder, Running(self.usage.clone()))
    }

    /// Whose processes have files open, if no command has been running for a while.
    fn left_behind(&self) -> Option<String> {
        let usage = lock(&self.usage);
        if usage.commands > 0 || usage.idle.elapsed() < PATIENCE {
            return None;
        }
        let named = usage.holders.iter().take(NAMED).map(|(name, count)| match count {
            1 => format!("`{name}`"),
            count => format!("`{name}` ({count} commands)"),
        });
        let named = named.collect::<Vec<_>>().join(", ");
        match usage.holders.len().saturating_sub(NAMED) {
            0 => Some(named),
            1 => Some(format!("{named} and another task")),
            more => Some(format!("{named} and {more} other tasks")),
        }
    }
}
