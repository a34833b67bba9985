//! Which volumes a task leaves in a state that no cache may keep.

use crate::driver::DriverError;
use crate::task::{TaskExit, TaskSpec};
use crate::volume::VolumeManager;

/// The volumes of a task that is running, which are dirty unless it ends by itself.
pub struct Dirty<'a> {
    volumes: &'a VolumeManager,
    spec: &'a TaskSpec,
    /// How it has ended, if that is known.
    exit: Option<TaskExit>,
    is_clean: bool,
}

impl<'a> Dirty<'a> {
    pub fn new(volumes: &'a VolumeManager, spec: &'a TaskSpec) -> Self {
        Self { volumes, spec, exit: None, is_clean: false }
    }

    /// The volumes of a task that has ended so. They are clean if the task ended by itself.
    pub fn ended(mut self, exit: &Result<TaskExit, DriverError>) {
        self.exit = exit.as_ref().ok().copied();
        self.is_clean = match exit {
            Ok(exit) => exit.ended_by_itself(),
            // A command that was never there has written nothing.
            Err(DriverError::CannotStart { .. } | DriverError::Refused(_)) => true,
            Err(DriverError::Io { .. } | DriverError::Unavailable { .. }) => false,
        };
    }
}

impl Drop for Dirty<'_> {
    fn drop(&mut self) {
        let task = format!("task `{}`", self.spec.name);
        match self.exit {
            _ if self.is_clean => {}
            Some(TaskExit::Code(_) | TaskExit::CodeAfterKill(_)) => {
                let process = format!("a process of {task}");
                self.volumes.mark_dirty(&self.spec.container.mounts, &process);
            }
            _ => self.volumes.mark_dirty(&self.spec.container.mounts, &task),
        }
    }
}
