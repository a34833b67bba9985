//! From the one source of a run's events to all of its reports.
//!
//! Each report has a thread and a bounded queue of its own. An event goes to all of them at once, so a report
//! that is slow or broken takes nothing from the others. When the queue of a slow one is full the run waits
//! for it, unless it has to stop: then the report is given up after a second.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::sink::{Message, Pause, Stamped};
use super::{Event, RunEvent};
use crate::stop::{Stop, StopReason};

/// How many events may wait for one report.
const CAPACITY: usize = 64;

/// How long the events of a run that has to stop wait for a report that does not take them.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a report is given.
#[derive(Debug)]
pub enum Delivery {
    Event(Arc<Event>),
    Pause(Pause),
}

/// One report, seen from the run.
pub struct Log {
    /// What a warning calls it.
    name: String,
    sender: mpsc::Sender<Delivery>,
    /// Why it is incomplete. The report goes on to take events after that.
    broken: Arc<OnceLock<String>>,
    /// Whether the run goes on to its end with no more than a warning if this is incomplete.
    is_optional: bool,
    /// Whether it writes to the standard output.
    is_output: bool,
    /// Nobody takes its events any more.
    is_abandoned: bool,
}

impl Log {
    /// The log for the standard output, and what its report reads.
    pub fn output() -> (Self, mpsc::Receiver<Delivery>) {
        let (log, receiver) = Self::file("the standard output".to_owned(), false);
        (Self { is_output: true, ..log }, receiver)
    }

    /// A log beside that.
    pub fn file(name: String, is_optional: bool) -> (Self, mpsc::Receiver<Delivery>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let broken = Arc::default();
        let log = Self { name, sender, broken, is_optional, is_output: false, is_abandoned: false };
        (log, receiver)
    }

    /// Where the report says why it is incomplete.
    pub fn broken(&self) -> Arc<OnceLock<String>> {
        self.broken.clone()
    }

    /// Waits for room, until the run has to stop and this log would hold that up.
    async fn send(&mut self, delivery: Delivery, stop: &Stop) {
        tokio::select! {
            _ = self.sender.send(delivery) => {}
            () = patience(stop) => self.is_abandoned = true,
        }
    }

    /// A warning about this log, once.
    fn complaint(&mut self) -> Option<RunEvent> {
        let reason = self.broken.get().filter(|_| self.is_optional)?;
        self.is_optional = false;
        Some(RunEvent::Warning { message: format!("{} is incomplete: {reason}", self.name) })
    }
}

/// Numbers events and hands them to all logs, up to the event that ends the run.
pub async fn dispatch(mut events: mpsc::Receiver<Message>, mut logs: Vec<Log>, stop: Arc<Stop>) {
    let mut seq = 0;
    while let Some(message) = events.recv().await {
        let Stamped { at, elapsed, kind } = match message {
            Message::Event(event) => event,
            Message::Pause(pause) => {
                // Without a log there, its sender sees at once that it is over.
                if let Some(log) = logs.iter_mut().find(|log| log.is_output && !log.is_abandoned) {
                    log.send(Delivery::Pause(pause), &stop).await;
                }
                continue;
            }
        };
        let complaints: Vec<_> = logs.iter_mut().filter_map(Log::complaint).collect();
        for kind in complaints.into_iter().chain([kind]) {
            seq += 1;
            let is_last = matches!(kind, RunEvent::RunFinished { .. });
            deliver(&mut logs, Arc::new(Event { seq, at, elapsed, kind }), &stop).await;
            if is_last {
                return;
            }
        }
    }
}

/// Hands an event to all logs. Those that have room get it before any other is waited for.
async fn deliver(logs: &mut [Log], event: Arc<Event>, stop: &Stop) {
    let mut full = Vec::new();
    for log in logs.iter_mut().filter(|log| !log.is_abandoned) {
        // A report whose thread has ended needs nothing.
        if let Err(TrySendError::Full(delivery)) =
            log.sender.try_send(Delivery::Event(event.clone()))
        {
            full.push((log, delivery));
        }
    }
    join_all(full.into_iter().map(|(log, delivery)| log.send(delivery, stop))).await;
}

/// Ends a while after the run was asked to stop from outside.
async fn patience(stop: &Stop) {
    stop.token().cancelled().await;
    if stop.reason() == Some(StopReason::Failed) {
        std::future::pending::<()>().await;
    }
    // While a shell has the terminal, nothing is written to it on purpose.
    stop.clock().sleep(PATIENCE).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventSink;

    fn notice(number: usize) -> RunEvent {
        RunEvent::Notice { message: number.to_string() }
    }

    fn received(log: &mut mpsc::Receiver<Delivery>) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while let Ok(Delivery::Event(event)) = log.try_recv() {
            found.push((
                event.seq,
                match &event.kind {
                    RunEvent::Notice { message } | RunEvent::Warning { message } => message.clone(),
                    other => format!("{other:?}"),
                },
            ));
        }
        found
    }

    #[tokio::test]
    async fn a_report_that_takes_nothing_keeps_no_event_from_the_others() {
        let (events, source) = EventSink::new();
        let (stuck, mut stuck_log) = Log::output();
        let (good, mut good_log) = Log::file("a file".to_owned(), true);
        let stop = Arc::new(Stop::default());
        let dispatching = tokio::spawn(dispatch(source, vec![stuck, good], stop));
        // One more than fits: it waits for the first report, and the second one has it.
        let mut found = Vec::new();
        for number in 1..=CAPACITY + 1 {
            events.send(notice(number)).await;
        }
        while found.len() < CAPACITY + 1 {
            tokio::task::yield_now().await;
            found.append(&mut received(&mut good_log));
        }
        let expected: Vec<_> =
            (1..=CAPACITY + 1).map(|number| (number as u64, number.to_string())).collect();
        assert_eq!(found, expected);
        assert_eq!(received(&mut stuck_log).len(), CAPACITY);
        drop((events, stuck_log));
        dispatching.await.unwrap();
    }

    #[tokio::test]
    async fn a_run_that_has_to_stop_does_not_wait_for_a_report() {
        let (events, source) = EventSink::new();
        let (stuck, _stuck_log) = Log::output();
        let stop = Arc::new(Stop::default());
        let dispatching = tokio::spawn(dispatch(source, vec![stuck], stop.clone()));
        stop.request(StopReason::Interrupted);
        for number in 0..3 * CAPACITY {
            events.send(notice(number)).await;
        }
        drop(events);
        dispatching.await.unwrap();
    }

    #[tokio::test]
    async fn a_pause_that_nobody_begins_does_not_hold_up_a_run_that_has_to_stop() {
        let (events, source) = EventSink::new();
        let (stuck, _stuck_log) = Log::output();
        let (good, mut good_log) = Log::file("a file".to_owned(), true);
        let stop = Arc::new(Stop::default());
        let dispatching = tokio::spawn(dispatch(source, vec![stuck, good], stop.clone()));
        for number in 1..=CAPACITY {
            events.send(notice(number)).await;
        }
        let pausing = events.clone();
        let pausing = tokio::spawn(async move { pausing.pause().await });
        // The pause is in the queue, and its log has no room for it.
        while received(&mut good_log).is_empty() {
            tokio::task::yield_now().await;
        }
        stop.request(StopReason::Interrupted);
        drop(pausing.await.unwrap());
        events.send(notice(0)).await;
        drop(events);
        dispatching.await.unwrap();
        assert_eq!(received(&mut good_log).last().map(|(_, text)| text.as_str()), Some("0"));
    }

    #[tokio::test]
    async fn an_optional_log_that_breaks_is_a_warning_in_the_others() {
        for is_optional in [true, false] {
            let (events, source) = EventSink::new();
            let (good, mut good_log) = Log::output();
            let (bad, _bad_log) = Log::file("the record".to_owned(), is_optional);
            bad.broken().set("no space left".to_owned()).unwrap();
            let stop = Arc::new(Stop::default());
            let dispatching = tokio::spawn(dispatch(source, vec![good, bad], stop));
            events.send(notice(1)).await;
            events.send(notice(2)).await;
            drop(events);
            dispatching.await.unwrap();
            let warning = "the record is incomplete: no space left";
            let texts = if is_optional { vec![warning, "1", "2"] } else { vec!["1", "2"] };
            let expected: Vec<_> =
                (1..).zip(texts).map(|(seq, text)| (seq, text.to_owned())).collect();
            assert_eq!(received(&mut good_log), expected);
        }
    }
}
