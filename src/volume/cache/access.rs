//! What a store can be used for. It is asked at the start of a run, and once more when that matters: a store
//! that is out of order may be in order by then.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::VolumeCache;
use store::StoreError;

/// How long a run waits in one go for a store that is out of order.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it is left alone before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long restores leave a store alone that has not come back.
const REST: Duration = Duration::from_secs(30);

/// What a store can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Full,
    ReadOnly,
    /// Nothing, until something is changed.
    None,
    /// Nothing at the moment.
    Unavailable,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Read,
    Write,
}

/// What is known so far. Whoever holds the lock asks the store, and the others wait for the answer.
#[derive(Default)]
pub struct Known(Mutex<State>);

#[derive(Default)]
struct State {
    /// An answer that holds for the rest of the run.
    lasting: Option<Access>,
    /// Reading works, whatever becomes of writing.
    reads: bool,
    /// Since when the store was given up for a while.
    given_up: Option<Instant>,
    is_told: bool,
}

/// An answer that may be another one later.
struct Passing {
    error: StoreError,
    /// Reading works.
    reads: bool,
}

impl VolumeCache {
    /// Asks the store what it can be used for, and tells the user if that is less than wanted. Ends as soon as
    /// nothing is wanted of the cache any more.
    pub(super) async fn access(&self, need: Need) -> Access {
        let asked = Instant::now();
        tokio::select! {
            biased;
            access = self.ask(need, asked) => access,
            () = self.cancel.cancelled() => Access::None,
        }
    }

    async fn ask(&self, need: Need, asked: Instant) -> Access {
        let mut state = self.known.0.lock().await;
        if let Some(access) = state.lasting {
            return access;
        }
        if need == Need::Read && state.reads {
            return Access::ReadOnly;
        }
        let mut patience = PATIENCE.min(self.config.budget);
        if let Some(given_up) = state.given_up {
            // Somebody else has waited for this one too.
            let is_answered = asked <= given_up;
            if is_answered || (need == Need::Read && given_up.elapsed() < REST) {
                return Access::Unavailable;
            }
            if need == Need::Read {
                // A restore that comes late holds up no run once more.
                patience = Duration::ZERO;
            }
        }
        let deadline = Instant::now() + patience;
        loop {
            let Passing { error, reads } = match self.probe().await {
                Ok(access) => {
                    if state.is_told && access != Access::None {
                        self.events.notice("the cache can be used now".to_owned());
                    }
                    state.lasting = Some(access);
                    return access;
                }
                Err(passing) => passing,
            };
            state.reads = reads;
            if need == Need::Read && reads {
                return Access::ReadOnly;
            }
            if Instant::now() + PAUSE >= deadline {
                state.given_up = Some(Instant::now());
                if !state.is_told {
                    state.is_told = true;
                    self.failed(match reads {
                        true => format!("volumes are not persisted: {error}"),
                        false => format!("the cache is not used: {error}"),
                    });
                }
                return Access::Unavailable;
            }
            sleep(PAUSE).await;
        }
    }

    async fn probe(&self) -> Result<Access, Passing> {
        let (writes, pulls) = (self.config.policy.pushes(), self.config.policy.pulls());
        let probed = match self.prepare().await {
            Ok(()) => self.store.probe(writes).await,
            Err(error) => Err(error),
        };
        let error = match probed {
            Ok(()) => {
                if writes {
                    self.start_sweep();
                }
                return Ok(Access::Full);
            }
            Err(error) => error,
        };
        let is_passing = matches!(error, StoreError::Unavailable(_));
        // It may still be good for reading.
        let readable = match &error {
            StoreError::Denied(_) | StoreError::Unavailable(_) if writes && pulls => {
                Some(self.store.probe(false).await)
            }
            _ => None,
        };
        match (readable, error) {
            (readable, error) if is_passing => {
                Err(Passing { error, reads: matches!(readable, Some(Ok(()))) })
            }
            (Some(Ok(())), StoreError::Denied(reason)) => {
                self.failed(format!("volumes are not persisted: {reason}"));
                Ok(Access::ReadOnly)
            }
            (Some(Err(passing @ StoreError::Unavailable(_))), _) => {
                Err(Passing { error: passing, reads: false })
            }
            (_, error) => {
                self.failed(format!("the cache is not used: {error}"));
                Ok(Access::None)
            }
        }
    }
}
