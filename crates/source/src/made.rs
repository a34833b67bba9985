//! What an import has made, for whoever wants to know later whether it is still so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Stat, statat};

use super::content::TICK;
use super::listing::{Entry, Stamp};

/// A file or a link of a copy.
#[derive(Debug)]
pub struct Made {
    pub name: OsString,
    /// What the file of the project was when it was read.
    pub source: Stamp,
    pub own: Own,
}

/// What tells one state of an entry of the copy from any other. Its size and the time of its last modification
/// are those of the file that it was copied from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    pub inode: u64,
    /// Seconds since 1970, and nanoseconds on top.
    pub changed: (i64, u32),
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

/// What all threads of an import have made.
#[derive(Debug, Default)]
pub struct MadeFiles(Mutex<Vec<(PathBuf, Vec<Made>)>>);

impl Own {
    pub fn of(stat: &Stat) -> Self {
        let Stamp { inode, changed, mode, .. } = Stamp::of(stat);
        Self { inode, changed, mode, user: stat.st_uid, group: stat.st_gid }
    }
}

impl Made {
    /// The copy of an entry in the directory `to`. `None` if a later change could go unnoticed.
    pub fn of(to: BorrowedFd<'_>, entry: &Entry, source: Stamp) -> Option<Self> {
        if !is_settled(source.changed) || !is_settled(source.modified) {
            return None;
        }
        let stat = statat(to, &*entry.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let stamp = Stamp::of(&stat);
        let is_equal = (stamp.size, stamp.modified) == (source.size, source.modified)
            && stamp.links == 1
            && is_fine(stamp.changed);
        is_equal.then(|| Self { name: entry.name.clone(), source, own: Own::of(&stat) })
    }
}

impl MadeFiles {
    pub fn add(&self, directory: &Path, made: Vec<Made>) {
        if !made.is_empty() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((directory.to_owned(), made));
        }
    }

    /// By directory, in the order in which they were made.
    pub fn into_vec(self) -> Vec<(PathBuf, Vec<Made>)> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a change from now on gets another time than this.
pub fn is_settled(time: (i64, u32)) -> bool {
    let nanos = |seconds: i64, nanos: u32| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return false };
    let now = nanos(i64::try_from(now.as_secs()).unwrap_or(0), now.subsec_nanos());
    let tick = nanos(0, TICK.subsec_nanos());
    nanos(time.0, time.1) + tick < now
}

/// Whether a time of change has fractions of a second. File systems with a coarse clock have none.
fn is_fine(time: (i64, u32)) -> bool {
    time.1 != 0
}
