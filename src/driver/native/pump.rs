//! From a task's output to whoever listens.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};

use crate::driver::{TaskUpdate, UpdateSink};
use crate::task::Stream;

/// How far a task is, as far as its output cares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    Running,
    /// The command ended; what it wrote is in the pipe.
    Ended,
    /// Nothing of the task is left, and nobody waits for its output any more.
    Over,
}

/// Reads a stream of a task and hands everything over, in order.
pub struct Pump {
    pipe: pipe::Receiver,
    stream: Stream,
    sink: UpdateSink,
    /// Empty; where the next chunk is read to.
    buffer: Vec<u8>,
    /// How much was read.
    total: usize,
}

/// What a chunk holds at most.
const CHUNK: usize = 64 << 10;

/// Chunks below this size are copied, so that a short line does not hold a large buffer for as
/// long as it waits to be consumed.
const SMALL: usize = 16 << 10;

/// What the pipe of a task that writes much may hold, so that the task and this process need not
/// take turns.
const LARGE_PIPE: i32 = 1 << 20;

/// How much a task writes before its pipe grows. Pipes are a resource that all of a user's
/// processes share.
const MUCH: usize = 1 << 20;

impl Pump {
    pub fn new(pipe: pipe::Receiver, stream: Stream, sink: UpdateSink) -> Self {
        Self { pipe, stream, sink, buffer: Vec::new(), total: 0 }
    }

    /// Runs until the stream ends or the task is over. Sends on `drained`, or drops it, when
    /// everything was handed over that was written before the command ended.
    pub async fn run(mut self, mut phase: watch::Receiver<Phase>, drained: oneshot::Sender<()>) {
        let mut drained = Some(drained);
        let mut seen = Phase::Running;
        // How much is still to be handed over of what was written before the command ended.
        let mut left = None;
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::Over {
                return self.hand_over_rest();
            }
            if now != seen {
                seen = now;
                // What counts is what is there now: a process in the background that goes on
                // writing must not keep the task from ending.
                left = Some(self.available());
            }
            if left == Some(0)
                && let Some(drained) = drained.take()
            {
                // Nobody may want to know any more.
                let _ = drained.send(());
            }
            match self.read() {
                // Where something is left, the reactor just has not heard of it yet.
                Ok(None) => tokio::select! {
                    ready = self.pipe.readable() => if ready.is_err() { return },
                    // Looked at above, the end of the task itself too.
                    _ = phase.changed() => {}
                },
                Ok(Some(chunk)) => {
                    left = left.map(|left| left.saturating_sub(chunk.len()));
                    tokio::select! {
                        biased;
                        // A listener that is gone makes no difference to the task.
                        _ = self.sink.send(TaskUpdate::Output(self.stream, chunk)) => {}
                        _ = phase.wait_for(|phase| *phase == Phase::Over) => return,
                    }
                }
                // The end, and nothing else is to be expected of a pipe.
                Err(_) => return,
            }
        }
    }

    /// What the pipe has now, `None` if that is nothing yet. The end of the stream is an error.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.buffer.reserve_exact(CHUNK);
        let read = match self.pipe.try_read_buf(&mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            read => read?,
        };
        if self.total < MUCH && self.total + read >= MUCH {
            // It may be more than this user is allowed; then the pipe stays as it is.
            let _ = fcntl(self.pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(LARGE_PIPE));
        }
        self.total += read;
        if read < SMALL {
            let chunk = self.buffer.clone();
            self.buffer.clear();
            return Ok(Some(chunk));
        }
        Ok(Some(std::mem::take(&mut self.buffer)))
    }

    /// Hands over what is there, as far as it fits.
    fn hand_over_rest(mut self) {
        let mut left = self.available();
        while left > 0 {
            let Ok(Some(chunk)) = self.read() else { return };
            left = left.saturating_sub(chunk.len());
            if self.sink.try_send(TaskUpdate::Output(self.stream, chunk)).is_err() {
                return;
            }
        }
    }

    /// How many bytes are in the pipe.
    fn available(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        // SAFETY: FIONREAD writes one `int`, to one that lives until the call returns.
        let result = unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &mut bytes) };
        Errno::result(result).ok().and_then(|_| usize::try_from(bytes).ok()).unwrap_or(0)
    }
}
