//! Work from one thread for several others.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::control::{Control, Stopped, Wake, lock};
use super::sync::{Condvar, Mutex, MutexGuard};

/// A queue of at most `capacity` items. Both ends stop waiting when `control` is stopped.
pub fn queue<T: Send + 'static>(control: &Control, capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue {
        control: control.clone(),
        capacity,
        state: Mutex::new(State {
            items: VecDeque::new(),
            unfinished: 0,
            quiet: 0,
            closed: false,
            idle: 0,
            sender_waits: false,
        }),
        for_receivers: Condvar::new(),
        for_sender: Condvar::new(),
    });
    let watcher: Arc<dyn Wake> = queue.clone();
    control.watch(Arc::downgrade(&watcher));
    (Sender(queue.clone()), Receiver(queue))
}

/// Dropping it ends the queue: receivers take what is left.
pub struct Sender<T>(Arc<Queue<T>>);

pub struct Receiver<T>(Arc<Queue<T>>);

struct Queue<T> {
    control: Control,
    capacity: usize,
    state: Mutex<State<T>>,
    for_receivers: Condvar,
    for_sender: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// Items that no receiver has [finished](Receiver::finish).
    unfinished: usize,
    /// Items that no receiver was woken for.
    quiet: usize,
    closed: bool,
    /// How many receivers wait.
    idle: usize,
    sender_waits: bool,
}

impl<T> Sender<T> {
    /// Waits for room, and wakes a receiver.
    pub fn send(&self, item: T) -> Result<(), Stopped> {
        let mut state = self.push(item)?;
        self.0.announce(&mut state);
        Ok(())
    }

    /// Waits for room. Wakes a receiver once `batch` items are there that none was woken for: to wake a
    /// thread costs as much as some kinds of work.
    ///
    /// The sender has to [`announce`](Self::announce) what is left before it waits for anything else.
    pub fn send_in_batches(&self, item: T, batch: usize) -> Result<(), Stopped> {
        let mut state = self.push(item)?;
        if state.quiet >= batch {
            self.0.announce(&mut state);
        }
        Ok(())
    }

    /// Wakes a receiver for what none was woken for.
    pub fn announce(&self) {
        self.0.announce(&mut lock(&self.0.state));
    }

    /// Waits until receivers have finished everything.
    pub fn settle(&self) -> Result<(), Stopped> {
        let mut state = lock(&self.0.state);
        self.0.announce(&mut state);
        while state.unfinished > 0 {
            state = self.0.wait_as_sender(state)?;
        }
        self.0.control.check()
    }

    fn push(&self, item: T) -> Result<MutexGuard<'_, State<T>>, Stopped> {
        let mut state = lock(&self.0.state);
        while state.items.len() >= self.0.capacity {
            self.0.announce(&mut state);
            state = self.0.wait_as_sender(state)?;
        }
        self.0.control.check()?;
        state.items.push_back(item);
        state.unfinished += 1;
        state.quiet += 1;
        Ok(state)
    }
}

impl<T> Receiver<T> {
    /// The next item, `None` when the queue has ended.
    pub fn recv(&self) -> Result<Option<T>, Stopped> {
        let mut items = self.recv_many(1)?;
        Ok(items.pop_front())
    }

    /// Up to `most` items; none when the queue has ended.
    pub fn recv_many(&self, most: usize) -> Result<VecDeque<T>, Stopped> {
        let mut state = lock(&self.0.state);
        loop {
            self.0.control.check()?;
            if !state.items.is_empty() {
                let count = most.min(state.items.len());
                let taken = state.items.drain(..count).collect();
                state.quiet = state.quiet.min(state.items.len());
                self.0.wake_sender(&mut state);
                return Ok(taken);
            }
            if state.closed {
                return Ok(VecDeque::new());
            }
            state.idle += 1;
            state = self.0.for_receivers.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Says that so many items are done, for [`Sender::settle`].
    pub fn finish(&self, count: usize) {
        let mut state = lock(&self.0.state);
        state.unfinished -= count;
        self.0.wake_sender(&mut state);
    }
}

impl<T> Queue<T> {
    fn announce(&self, state: &mut State<T>) {
        if std::mem::take(&mut state.quiet) > 0 && state.idle > 0 {
            self.for_receivers.notify_one();
        }
    }

    fn wake_sender(&self, state: &mut State<T>) {
        if std::mem::take(&mut state.sender_waits) {
            self.for_sender.notify_one();
        }
    }

    fn wait_as_sender<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
    ) -> Result<MutexGuard<'a, State<T>>, Stopped> {
        self.control.check()?;
        state.sender_waits = true;
        Ok(self.for_sender.wait(state).unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Send> Wake for Queue<T> {
    fn wake(&self) {
        let _state = lock(&self.state);
        self.for_receivers.notify_all();
        self.for_sender.notify_all();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.for_receivers.notify_all();
    }
}
