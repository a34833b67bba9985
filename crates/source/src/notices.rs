//! What people should know of an import, without drowning in it.

use std::sync::{Mutex, PoisonError};

/// Most notices that are told in full.
const TOLD: usize = 10;

#[derive(Debug, Default)]
pub struct Notices(Mutex<Vec<String>>);

impl Notices {
    pub fn add(&self, notice: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    /// In an order that does not depend on the threads.
    pub fn into_vec(self) -> Vec<String> {
        let mut all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.sort_unstable();
        all.dedup();
        let more = all.len().saturating_sub(TOLD);
        all.truncate(TOLD);
        if more > 0 {
            all.push(format!("and {more} more"));
        }
        all
    }
}
