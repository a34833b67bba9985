//! Engines of other machines, as the `docker` command reaches them by ssh: through
//! `docker system dial-stdio` there, with one `ssh` for each connection.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::destination::Destination;
use crate::process::hidden;

/// How long `ssh` may take to reach the other machine, in seconds: for the first time, when nobody may be
/// there, and later, when a run depends on it.
const CONNECTING: (u32, u32) = (2, 30);

/// How long to wait for the end of an `ssh` whose connection has ended, and for what it has said. Something
/// that it has started may keep its output open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How `ssh` ends if it is the one that has failed, and not the command over there.
const OWN_FAILURE: i32 = 255;

/// More than `ssh` has to say.
const LONGEST: usize = 4096;

impl Destination {
    fn arguments(&self, seconds: u32) -> Vec<String> {
        // Nobody can be asked for a password. A connection that others go through, too, would end with the first
        // request that it was made for; one that is there already is used.
        let timeout = format!("ConnectTimeout={seconds}");
        // A way that is cut says nothing otherwise.
        let alive = ["ServerAliveInterval=15", "ServerAliveCountMax=4"];
        let options = ["BatchMode=yes", "ControlMaster=no", &timeout, alive[0], alive[1]];
        let mut arguments = vec!["-T".to_owned()];
        arguments.extend(options.iter().flat_map(|option| ["-o".to_owned(), option.to_string()]));
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--", &self.host, "docker"].map(str::to_owned));
        if let Some(socket) = &self.socket {
            // A shell reads it over there.
            let quoted = format!("'unix://{}'", socket.replace('\'', r"'\''"));
            arguments.extend(["--host".to_owned(), quoted]);
        }
        arguments.extend(["system", "dial-stdio"].map(str::to_owned));
        arguments
    }
}

/// Starts a connection. Whether it comes about shows when something is read from it, which drops `heard`.
pub fn connect(to: &Destination, is_first: bool, heard: oneshot::Sender<()>) -> io::Result<Stream> {
    let seconds = if is_first { CONNECTING.0 } else { CONNECTING.1 };
    let mut command = Command::new("ssh");
    // What it runs to get there has nothing to do with the credentials of a cache.
    for name in hidden::variables() {
        command.env_remove(name);
    }
    let started = command
        .args(to.arguments(seconds))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for the run, which needs the engine to clean up.
        .process_group(0)
        .spawn();
    let mut child =
        started.map_err(|error| io::Error::other(format!("cannot run `ssh`: {error}")))?;
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (stdin @ Some(_), Some(stdout), Some(stderr)) => Ok(Stream {
            stdin,
            stdout,
            unheard: Some(heard),
            said: Vec::new(),
            state: State::Open(child, stderr),
        }),
        _ => Err(io::Error::other("`ssh` has no streams")),
    }
}

/// Both ways of a connection, and the `ssh` that it goes through.
pub struct Stream {
    /// `None` when the other side reads no more.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// Until something is read.
    unheard: Option<oneshot::Sender<()>>,
    /// What `ssh` has said, as far as it fits.
    said: Vec<u8>,
    state: State,
}

enum State {
    Open(Child, ChildStderr),
    /// Ends with why the connection did, if that is not the usual end.
    Ending(Pin<Box<dyn Future<Output = Option<String>> + Send>>),
    Ended(Option<String>),
}

impl Stream {
    /// Takes what `ssh` has said by now, which would have to wait otherwise.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let State::Open(_, stderr) = &mut self.state else { return };
        let mut bytes = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stderr).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    keep(&mut self.said, buffer.filled())
                }
                _ => return,
            }
        }
    }

    /// Why the connection has ended, if it was not the other side that closed it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.state, State::Open(..))
            && let State::Open(child, stderr) =
                std::mem::replace(&mut self.state, State::Ended(None))
        {
            self.stdin = None;
            let (said, nothing) = (std::mem::take(&mut self.said), self.unheard.is_some());
            self.state = State::Ending(Box::pin(last_words(child, stderr, said, nothing)));
        }
        if let State::Ending(words) = &mut self.state {
            self.state = State::Ended(ready!(words.as_mut().poll(cx)));
        }
        Poll::Ready(match &self.state {
            State::Ended(Some(reason)) => Err(io::Error::other(reason.clone())),
            _ => Ok(()),
        })
    }
}

fn keep(said: &mut Vec<u8>, bytes: &[u8]) {
    said.extend_from_slice(bytes);
    // What comes last says why it has ended.
    said.drain(..said.len().saturating_sub(LONGEST));
}

/// Why `ssh` has ended, which it says last. If there has been `nothing` to read, the command over there has
/// failed to connect; later, it fails to pass on what nobody reads any more.
async fn last_words(
    mut child: Child,
    mut stderr: ChildStderr,
    mut said: Vec<u8>,
    nothing: bool,
) -> Option<String> {
    let status = timeout(LAST_WORDS, child.wait()).await.ok()?.ok()?;
    let mut rest = Vec::new();
    _ = timeout(LAST_WORDS, stderr.read_to_end(&mut rest)).await;
    keep(&mut said, &rest);
    let is_usual = match status.code() {
        Some(OWN_FAILURE) | None => false,
        Some(code) => code == 0 || !nothing,
    };
    if is_usual {
        return None;
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    Some(line.map_or_else(|| format!("`ssh` has ended: {status}"), str::to_owned))
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let State::Open(child, _) = &self.state
            && let Some(group) = child.id().and_then(|id| i32::try_from(id).ok())
        {
            // What it has started to get there ends with it.
            _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.listen(cx);
        if matches!(self.state, State::Open(..)) {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stdout).poll_read(cx, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                self.unheard = None;
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_end(cx)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stdin {
            Some(stdin) => ready!(Pin::new(stdin).poll_write(cx, bytes)),
            None => Ok(bytes.len()),
        };
        match written {
            // Who reads no more may still have something to say, and the end of that says why it does not.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.stdin = None;
                Poll::Ready(Ok(bytes.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The other side sees the end of what is written.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stdin) = &mut self.stdin {
            ready!(Pin::new(stdin).poll_shutdown(cx))?;
            self.stdin = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_become_arguments() {
        let table = [
            ("ssh://far", "-- far docker system dial-stdio"),
            ("ssh://me@far", "-l me -- far docker system dial-stdio"),
            ("ssh://me@far:2222", "-l me -p 2222 -- far docker system dial-stdio"),
            ("ssh://[::1]:22", "-p 22 -- ::1 docker system dial-stdio"),
            ("ssh://-oX@-f", "-l -oX -- -f docker system dial-stdio"),
            (
                "ssh://far/run/it's.sock",
                r"-- far docker --host 'unix:///run/it'\''s.sock' system dial-stdio",
            ),
        ];
        let options = "-T -o BatchMode=yes -o ControlMaster=no -o ConnectTimeout=2 \
                       -o ServerAliveInterval=15 -o ServerAliveCountMax=4 ";
        for (text, expected) in table {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.arguments(2).join(" "), format!("{options}{expected}"));
            assert_eq!(destination.to_string(), text);
        }
        for text in
            ["ssh://", "ssh://me@", "ssh://me:secret@far", "ssh://far?x", "ssh://far:x", "far"]
        {
            assert_eq!(text.parse::<Destination>(), Err(()), "{text}");
        }
    }
}
