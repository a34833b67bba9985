//! What stays of tasks that have ended, for whoever wants to look around there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::task::TaskId;

/// Something of each task that is kept, until it is discarded or everything ends.
pub struct AllKept<T>(Mutex<Option<HashMap<TaskId, T>>>);

impl<T> Default for AllKept<T> {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl<T> AllKept<T> {
    pub fn add(&self, task: TaskId, kept: T) {
        self.in_map(|map| map.insert(task, kept));
    }

    pub fn take(&self, task: TaskId) -> Option<T> {
        self.in_map(|map| map.remove(&task)).flatten()
    }

    /// Does something with what is kept of a task, if anything is.
    pub fn with<R>(&self, task: TaskId, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.in_map(|map| map.get_mut(&task).map(work)).flatten()
    }

    /// Lets go of everything. Nothing is kept from now on.
    pub fn close(&self) {
        let all = self.lock().take();
        drop(all);
    }

    fn in_map<R>(&self, work: impl FnOnce(&mut HashMap<TaskId, T>) -> R) -> Option<R> {
        self.lock().as_mut().map(work)
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<TaskId, T>>> {
        // No holder leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
