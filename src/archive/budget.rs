//! Memory that all packing and unpacking of the process shares.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Hands out shares of a number of bytes, and lets those wait who ask for more than is left.
///
/// There has to be room for two frames, packed and unpacked, for each archive that is worked on at the
/// same time: the one that is being read while the next one arrives. Then nobody waits for ever, since
/// everything beyond that is given back without taking more.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    left: Mutex<usize>,
    returned: Condvar,
}

/// Bytes that may be used until this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared { total: bytes, left: Mutex::new(bytes), returned: Condvar::new() }))
    }

    /// Waits for a share. Who wants more than there is gets all of it.
    pub fn take(&self, bytes: usize) -> Share {
        let bytes = bytes.min(self.0.total);
        let mut left = self.left();
        while *left < bytes {
            left = self.0.returned.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= bytes;
        drop(left);
        Share { budget: self.clone(), bytes }
    }

    fn left(&self) -> MutexGuard<'_, usize> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.left() += self.bytes;
        self.budget.0.returned.notify_all();
    }
}
