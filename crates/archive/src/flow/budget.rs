//! Memory and threads that all packing and unpacking of a process shares.
//!
//! An archive takes a reserve of 17 MiB when it begins, before it holds anything else, and keeps it to its
//! end. The rest of the budget is lent: an archive gets more while there is some, and otherwise waits until
//! its own content is written, which needs no memory. So no archive waits for another one except at its
//! beginning, and one on a stuck disk does not stop the others. A frame that is larger than what an archive
//! can wait for is decompressed block by block. Two rules keep the wait for own content finite: who takes
//! content wakes the writer threads before it waits for more, and keeps no block while it waits.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::thread::available_parallelism;

use super::control::{Control, Stage, Stopped, Wake, lock};
use super::sync::{Condvar, Mutex, MutexGuard};

/// What each archive has for itself, in bytes: one frame of this program, packed and unpacked. A frame
/// that does not compress is a little larger than its content.
pub const RESERVE: usize = 17 << 20;

/// For how many archives a reserve is always kept free, if the budget is large enough.
const KEPT: usize = 3;

/// Memory for the content of archives, and how many threads work on each of them.
///
/// Each archive takes a reserve when it begins, while it has nothing else, and keeps it to its end. All
/// beyond that is lent as long as there is some, and nobody has to have it: an archive that gets no more
/// waits for its own content to be written, which needs no memory. So no archive ever waits for
/// another one but at its beginning, and one that stands still does not stop the others.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    state: Mutex<State>,
    returned: Condvar,
    /// For how many archives a reserve is kept.
    kept: usize,
}

struct State {
    /// Neither in a reserve nor lent.
    left: usize,
    /// What each archive uses, by its number.
    used: BTreeMap<u64, usize>,
    next: u64,
    /// Archives that wait for their reserve, the first one first.
    beginning: VecDeque<u64>,
    waiting: usize,
}

/// The memory of one archive.
#[derive(Clone)]
pub struct Memory(Arc<Account>);

struct Account {
    shared: Arc<Shared>,
    number: u64,
}

/// Bytes that may be used until this is dropped.
pub struct Share {
    account: Arc<Account>,
    bytes: usize,
}

impl Budget {
    /// The smallest budget in bytes; a smaller one counts as this.
    pub const SMALLEST: usize = RESERVE;

    /// A budget of so many bytes, with a thread for each core.
    pub fn new(bytes: usize) -> Self {
        Self::with_threads(bytes, available_parallelism().map_or(1, usize::from))
    }

    /// A budget of so many bytes. Each kind of work on an archive is done by at most so many threads.
    pub fn with_threads(bytes: usize, threads: usize) -> Self {
        let bytes = bytes.max(Self::SMALLEST);
        let state = State {
            left: bytes,
            used: BTreeMap::new(),
            next: 0,
            beginning: VecDeque::new(),
            waiting: 0,
        };
        let kept = KEPT.min(bytes / RESERVE);
        let shared = Shared { state: Mutex::new(state), returned: Condvar::new(), kept };
        Self { shared: Arc::new(shared), threads: threads.max(1) }
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Takes the reserve of an archive. Waits for archives before it to end, if there are too many.
    pub fn begin(&self, control: &Control) -> Result<Memory, Stopped> {
        let shared = &self.shared;
        let watcher: Arc<dyn Wake> = shared.clone();
        control.watch(Arc::downgrade(&watcher));
        let mut state = lock(&shared.state);
        let number = state.next;
        state.next += 1;
        state.beginning.push_back(number);
        let mut working = None;
        while state.beginning.front() != Some(&number) || state.left < RESERVE {
            if control.is_stopped() {
                state.beginning.retain(|waiting| *waiting != number);
                shared.notify(&state);
                return Err(Stopped);
            }
            working.get_or_insert_with(|| control.enter(Stage::Memory));
            state = shared.wait(state);
        }
        state.beginning.pop_front();
        state.left -= RESERVE;
        state.used.insert(number, 0);
        shared.notify(&state);
        Ok(Memory(Arc::new(Account { shared: shared.clone(), number })))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Memory {
    /// A share, if there is one at the moment.
    pub fn try_take(&self, bytes: usize) -> Option<Share> {
        let Account { shared, number } = &*self.0;
        let taken = shared.try_take(&mut lock(&shared.state), *number, bytes);
        taken.then(|| Share { account: self.0.clone(), bytes })
    }

    /// Waits for a share, at most for what this archive itself uses. A share is never larger than the
    /// reserve.
    ///
    /// What the archive uses has to be on its way to somebody who takes no share.
    pub fn take(&self, bytes: usize, control: &Control) -> Result<Share, Stopped> {
        let bytes = bytes.min(RESERVE);
        let Account { shared, number } = &*self.0;
        let mut state = lock(&shared.state);
        let mut working = None;
        while !shared.try_take(&mut state, *number, bytes) {
            control.check()?;
            working.get_or_insert_with(|| control.enter(Stage::Memory));
            state = shared.wait(state);
        }
        Ok(Share { account: self.0.clone(), bytes })
    }
}

impl Share {
    /// Makes two shares of one.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: self.account.clone(), bytes }
    }
}

/// What an archive that uses so much has beyond its reserve.
fn lent(used: usize) -> usize {
    used.saturating_sub(RESERVE)
}

impl Shared {
    fn try_take(&self, state: &mut State, number: u64, bytes: usize) -> bool {
        let used = state.used.get(&number).copied().unwrap_or(0);
        let more = lent(used + bytes) - lent(used);
        if more > 0 {
            let kept = RESERVE * self.kept.saturating_sub(state.used.len());
            if !state.beginning.is_empty() || state.left < more + kept {
                return false;
            }
        }
        state.left -= more;
        state.used.insert(number, used + bytes);
        true
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn notify(&self, state: &State) {
        if state.waiting > 0 {
            self.returned.notify_all();
        }
    }
}

impl Wake for Shared {
    fn wake(&self) {
        self.notify(&lock(&self.state));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Account { shared, number } = &*self.account;
        let mut state = lock(&shared.state);
        if let Some(used) = state.used.get_mut(number) {
            let before = *used;
            *used -= self.bytes;
            let returned = lent(before) - lent(*used);
            state.left += returned;
        }
        shared.notify(&state);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.used.remove(&self.number);
        state.left += RESERVE;
        self.shared.notify(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_reserve_is_kept_for_archives_to_come() {
        let budget = Budget::new(96 * MIB);
        let control = Control::new();
        let first = budget.begin(&control).unwrap();
        let shares: Vec<_> = std::iter::from_fn(|| first.try_take(MIB)).collect();
        assert_eq!(shares.len(), 96 - 2 * 17);
        let second = budget.begin(&control).unwrap();
        let third = budget.begin(&control).unwrap();
        let reserve = second.try_take(RESERVE).unwrap();
        assert!(second.try_take(1).is_none());
        drop(shares);
        assert!(second.try_take(45 * MIB).is_some());
        drop((reserve, second, third));
        assert_eq!(first.try_take(62 * MIB).map(|share| share.bytes), Some(62 * MIB));
    }

    #[test]
    fn the_smallest_budget_is_enough_for_one_archive() {
        let budget = Budget::new(0);
        let control = Control::new();
        let memory = budget.begin(&control).unwrap();
        let mut share = memory.take(usize::MAX, &control).unwrap();
        assert!(memory.try_take(1).is_none());
        drop(share.split(MIB));
        assert!(memory.try_take(MIB).is_some());
        control.stop();
        assert!(budget.begin(&control).is_err());
        drop((share, memory));
        assert!(budget.begin(&Control::new()).is_ok());
    }
}
