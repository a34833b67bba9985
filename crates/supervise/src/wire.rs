//! What the driver and a task's reaper say to each other.
//!
//! A message is its length in bytes (`u32`, little-endian) and that much JSON, on a stream socket
//! that also carries the descriptors of a task's standard streams.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// From the driver to a reaper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Start this. The descriptors that [`Stdio`] names come along.
    Launch(Box<Launch>),
    /// End everything that the launch started: SIGTERM, then SIGKILL after this many milliseconds.
    Terminate { grace_ms: u64 },
}

/// A command with everything decided. Paths are absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    pub command: String,
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Where to look for a command without a slash, separated by colons.
    pub search: String,
    /// Where the command starts.
    pub directory: String,
    pub stdio: Stdio,
    /// The directory that the targets of `binds` are below.
    pub mounts_at: String,
    /// In the order in which they have to be mounted.
    pub binds: Vec<Bind>,
    /// An empty directory, for a file system in memory that holds the secrets. Empty without any.
    pub secrets_at: String,
    pub secrets: Vec<SecretFile>,
    /// What was made for the task in directories of the user's, and goes if the driver does. Those below others
    /// come later.
    pub fixtures: Vec<Fixture>,
    /// Whether the command reaches no network but a loopback interface of its own.
    pub offline: bool,
    pub credentials: Option<Credentials>,
}

impl Launch {
    /// Whether the command needs namespaces of its own.
    pub fn is_isolated(&self) -> bool {
        !self.binds.is_empty() || !self.secrets.is_empty() || self.offline
    }
}

/// What a command's standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stdio {
    /// Pipes for stdout and stderr, and nothing to read.
    Pipes,
    /// Pipes for stdin, stdout and stderr.
    PipesWithStdin,
    /// One terminal for all of them, which becomes the session's.
    Terminal,
}

/// A directory to show at another place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    pub source: String,
    /// Relative, without `.` or `..`; it exists. Empty for the directory that targets are relative to.
    pub target: String,
    pub read_only: bool,
}

/// Something in a directory of the user's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Fixture {
    /// With what tells it from one that somebody has put in its place.
    Directory {
        path: String,
        device: u64,
        inode: u64,
    },
    Link {
        path: String,
        to: String,
    },
}

/// A file with a secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretFile {
    /// Below `/run`, or relative to where the targets of binds are: a file that exists then.
    pub target: String,
    pub content: Vec<u8>,
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("target", &self.target).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}

/// From a reaper to the driver.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The command runs, below this reaper.
    Started { reaper: ProcessId },
    /// The command does not run, and nothing of the launch is left.
    Failed(Failure),
    /// The command ended. What it started may still run.
    Exited(Exit),
    /// Nothing of the launch is running any more, but for these many processes that could not be
    /// ended. The reaper is free for the next launch if that is none.
    Gone { left: usize },
}

/// A process, told apart from a later one with the same number by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// In clock ticks after the machine's start.
    pub started: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Failure {
    /// This machine does not let the task have namespaces of its own, or mounts in them.
    NoMounts(String),
    /// Anything else, in words.
    Start(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// The most that the kernel takes as arguments and environment, in bytes: three quarters of the largest
/// stack that it considers (`_STK_LIM`).
pub const MAX_ARGUMENTS: usize = 6 << 20;

/// Longest message. JSON may need up to six bytes for one, and there is more than arguments.
const MAX_MESSAGE: usize = 64 << 20;

/// How much memory an inbox keeps for the next messages, in bytes. Most are far below that.
const KEPT: usize = 64 << 10;

/// Most descriptors that come with one message.
const MAX_DESCRIPTORS: usize = 3;

pub fn encoded(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(ErrorKind::ArgumentListTooLong, "argument list too long"));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Sends as much of `bytes` as the socket takes, with all of `descriptors`.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let raw: Vec<RawFd> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    loop {
        let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, flags, None);
        match sent {
            Err(nix::Error::EINTR) => {}
            sent => return Ok(sent?),
        }
    }
}

/// Reads once into `buffer`. Returns 0 at the end of the stream.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    loop {
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(received) => {
                for message in received.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = message {
                        // SAFETY: the kernel has just made these descriptors for this process,
                        // and nothing else knows of them yet.
                        let owned = raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) });
                        descriptors.extend(owned);
                    }
                }
                return Ok(received.bytes);
            }
        }
    }
}

/// Bytes that have arrived, as messages.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// What came along, oldest first.
    pub descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// Reads once from the socket. Returns false at the end of the stream.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        const STEP: usize = 16 << 10;
        let start = self.bytes.len();
        self.bytes.resize(start + STEP, 0);
        let received = receive(socket, &mut self.bytes[start..], &mut self.descriptors);
        self.bytes.truncate(start + received.as_ref().map_or(0, |received| *received));
        Ok(received? > 0)
    }

    /// The next message, if all of it has arrived.
    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(ErrorKind::InvalidData, "a message is too long"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        // A reaper lives as long as its run, and not every launch is as large as the largest.
        self.bytes.shrink_to(KEPT);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order_with_their_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut bytes = encoded(&Order::Terminate { grace_ms: 1 }).unwrap();
        bytes.extend(encoded(&Order::Terminate { grace_ms: 2 }).unwrap());
        let (first, second) = bytes.split_at(3);
        let mut inbox = Inbox::default();

        assert_eq!(send(here.as_fd(), first, &[here.as_fd()]).unwrap(), 3);
        assert!(inbox.fill(there.as_fd()).unwrap());
        assert!(inbox.take::<Order>().unwrap().is_none());
        assert_eq!(inbox.descriptors.len(), 1);

        assert_eq!(send(here.as_fd(), second, &[]).unwrap(), second.len());
        assert!(inbox.fill(there.as_fd()).unwrap());
        assert!(matches!(inbox.take().unwrap(), Some(Order::Terminate { grace_ms: 1 })));
        assert!(matches!(inbox.take().unwrap(), Some(Order::Terminate { grace_ms: 2 })));
        assert!(inbox.take::<Order>().unwrap().is_none());

        drop(here);
        drop(inbox.descriptors.drain(..));
        assert!(!inbox.fill(there.as_fd()).unwrap());
    }

    #[test]
    fn a_length_beyond_all_reason_is_an_error() {
        let mut inbox = Inbox { bytes: vec![0xff; 8], ..Inbox::default() };
        assert_eq!(inbox.take::<Order>().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
