//! Results of several threads, in the order in which the work was begun.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::control::{Control, Stopped, Wake, lock};
use super::sync::{Condvar, Mutex, MutexGuard};

/// Room for at most `capacity` results that were begun and not taken. Both ends stop waiting when
/// `control` is stopped.
pub fn ordered<T: Send + 'static>(
    control: &Control,
    capacity: usize,
) -> (Producer<T>, Consumer<T>) {
    let line = Arc::new(Line {
        control: control.clone(),
        capacity,
        state: Mutex::new(State {
            slots: VecDeque::new(),
            taken: 0,
            end: End::Open,
            consumer_waits: false,
            producer_waits: false,
        }),
        for_consumer: Condvar::new(),
        for_producer: Condvar::new(),
    });
    let watcher: Arc<dyn Wake> = line.clone();
    control.watch(Arc::downgrade(&watcher));
    (Producer(line.clone()), Consumer(line))
}

/// Begins results. One that is dropped before [`finish`](Self::finish) has failed.
pub struct Producer<T: Send + 'static>(Arc<Line<T>>);

/// A result that is to come. If it is dropped before that, whoever had it has failed.
pub struct Slot<T: Send + 'static> {
    line: Arc<Line<T>>,
    number: usize,
}

pub struct Consumer<T: Send + 'static>(Arc<Line<T>>);

struct Line<T> {
    control: Control,
    capacity: usize,
    state: Mutex<State<T>>,
    for_consumer: Condvar,
    for_producer: Condvar,
}

struct State<T> {
    /// The first one is the next to be taken.
    slots: VecDeque<Content<T>>,
    /// How many were taken before it.
    taken: usize,
    end: End,
    consumer_waits: bool,
    producer_waits: bool,
}

enum Content<T> {
    Begun,
    Ready(T),
    Lost,
}

#[derive(PartialEq)]
enum End {
    Open,
    Finished,
    Lost,
}

/// What there is without waiting.
pub enum Next<T> {
    Ready(T),
    Finished,
    Pending,
}

impl<T: Send + 'static> Producer<T> {
    /// Begins a result, and waits for room.
    pub fn begin(&self) -> Result<Slot<T>, Stopped> {
        let line = &self.0;
        let mut state = lock(&line.state);
        loop {
            line.control.check()?;
            if state.slots.len() < line.capacity {
                break;
            }
            state.producer_waits = true;
            state = line.for_producer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.slots.push_back(Content::Begun);
        let number = state.taken + state.slots.len() - 1;
        Ok(Slot { line: line.clone(), number })
    }

    /// Adds a result that is there already.
    pub fn send(&self, result: T) -> Result<(), Stopped> {
        self.begin()?.fill(result);
        Ok(())
    }

    /// Says that no more results follow.
    pub fn finish(self) {
        lock(&self.0.state).end = End::Finished;
    }
}

impl<T: Send + 'static> Slot<T> {
    pub fn fill(self, result: T) {
        self.set(Content::Ready(result));
    }

    fn set(&self, content: Content<T>) {
        let mut state = lock(&self.line.state);
        let index = self.number.checked_sub(state.taken);
        if let Some(slot @ Content::Begun) = index.and_then(|index| state.slots.get_mut(index)) {
            *slot = content;
            if index == Some(0) {
                self.line.wake_consumer(&mut state);
            }
        }
    }
}

impl<T: Send + 'static> Consumer<T> {
    /// The next result if it is there. `Err` if it never will be.
    pub fn try_next(&self) -> Result<Next<T>, Stopped> {
        self.0.next(&mut lock(&self.0.state))
    }

    /// The next result, `None` after the last one.
    pub fn next(&self) -> Result<Option<T>, Stopped> {
        let mut state = lock(&self.0.state);
        loop {
            match self.0.next(&mut state)? {
                Next::Ready(result) => return Ok(Some(result)),
                Next::Finished => return Ok(None),
                Next::Pending => {}
            }
            state.consumer_waits = true;
            state = self.0.for_consumer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Line<T> {
    fn next(&self, state: &mut MutexGuard<'_, State<T>>) -> Result<Next<T>, Stopped> {
        self.control.check()?;
        match state.slots.front() {
            Some(Content::Begun) => return Ok(Next::Pending),
            Some(Content::Lost) => return Err(Stopped),
            Some(Content::Ready(_)) => {}
            None => {
                return match state.end {
                    End::Open => Ok(Next::Pending),
                    End::Finished => Ok(Next::Finished),
                    End::Lost => Err(Stopped),
                };
            }
        }
        let Some(Content::Ready(result)) = state.slots.pop_front() else { return Err(Stopped) };
        state.taken += 1;
        if std::mem::take(&mut state.producer_waits) {
            self.for_producer.notify_one();
        }
        Ok(Next::Ready(result))
    }

    fn wake_consumer(&self, state: &mut State<T>) {
        if std::mem::take(&mut state.consumer_waits) {
            self.for_consumer.notify_one();
        }
    }
}

impl<T: Send> Wake for Line<T> {
    fn wake(&self) {
        let _state = lock(&self.state);
        self.for_consumer.notify_all();
        self.for_producer.notify_all();
    }
}

impl<T: Send + 'static> Drop for Producer<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if state.end == End::Open {
            state.end = End::Lost;
        }
        self.0.wake_consumer(&mut state);
    }
}

impl<T: Send + 'static> Drop for Slot<T> {
    fn drop(&mut self) {
        // Has no effect on one that is filled.
        self.set(Content::Lost);
    }
}
