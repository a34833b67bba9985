//! What every format of the output does.

use std::time::Duration;

use crate::event::Event;

/// What turns events into text.
pub trait Report {
    /// Appends what there is to say about an event.
    fn event(&mut self, event: &Event, out: &mut Vec<u8>);

    /// Appends what is left to say after the last event.
    fn end(&mut self, out: &mut Vec<u8>);

    /// Makes the text of one or more events ready to be written.
    fn frame(&mut self, _out: &mut Vec<u8>) {}

    /// Appends what takes back all that is not to stay, so that others may write.
    fn pause(&mut self, _out: &mut Vec<u8>) {}

    /// The least time between two frames, unless there is much to write.
    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the next frame differs from the last one even if no event comes.
    fn is_moving(&self) -> bool {
        false
    }
}
