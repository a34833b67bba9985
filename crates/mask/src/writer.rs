//! Writes what is shown of a stream.

use super::fold::is_break;
use super::run::Run;

/// What takes the place of a secret.
const HIDDEN: &[u8] = b"***";

/// Writes bytes with `***` in place of runs.
#[derive(Default)]
pub struct Writer {
    /// What is to be hidden of the bytes that follow.
    pub runs: Vec<Run>,
    /// How many of them are written already, or hidden.
    done: usize,
    /// If the last bytes were hidden. What follows without a gap needs no more `***`.
    is_hidden: bool,
}

impl Writer {
    /// Writes the bytes before `end`, and all of a run that begins there or reaches over it. Forgets these bytes: afterwards
    /// positions count from `end`.
    pub fn write(&mut self, data: &[u8], end: usize, out: &mut Vec<u8>) {
        let mut at = self.done;
        let written = self.runs.partition_point(|run| run.start <= end);
        for run in self.runs.drain(..written) {
            if run.end <= at {
                continue;
            }
            if run.start > at {
                out.extend_from_slice(&data[at..run.start]);
                self.is_hidden = false;
            }
            if !self.is_hidden {
                out.extend_from_slice(HIDDEN);
                self.is_hidden = true;
            }
            at = run.end;
        }
        if at < end {
            out.extend_from_slice(&data[at..end]);
            self.is_hidden = false;
            at = end;
        }
        self.done = at - end;
        for run in &mut self.runs {
            run.start -= end;
            run.end -= end;
        }
    }

    /// How many of the bytes that follow are written already, or hidden.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Hides all of these bytes but the line breaks at their end.
    pub fn hide_all(&mut self, data: &[u8]) {
        let end = data.iter().rposition(|byte| !is_break(*byte)).map_or(0, |last| last + 1);
        self.runs = vec![Run::of(data, end)];
    }

    /// Writes bytes in which no run ends, and keeps their positions.
    pub fn write_early(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.done < data.len() {
            out.extend_from_slice(&data[self.done..]);
            self.done = data.len();
            self.is_hidden = false;
        }
    }
}
