//! What a container writes, on its way to whoever listens.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures_util::{Stream as Chunks, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::driver::OutputSink;
use crate::task::Stream;

/// How the container's first process says that it could not start the command. It comes in pieces.
const NOT_STARTED: &[u8] = b"[FATAL tini (";

/// More than a path may have.
const LONGEST_LINE: usize = 8192;

/// Hands over all that comes, in order. Returns what the container's first process said of a command
/// that it could not start, which is not the command's own output. When `discard` fires, nobody is
/// waited for any more.
pub async fn pump(
    mut chunks: Pin<Box<dyn Chunks<Item = Result<LogOutput, Error>> + Send>>,
    sink: OutputSink,
    discard: &CancellationToken,
) -> Result<Option<String>, Error> {
    let mut held = Vec::new();
    let mut holds = true;
    while let Some(chunk) = chunks.next().await {
        let (stream, bytes) = match chunk? {
            LogOutput::StdErr { message } => (Stream::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                (Stream::Stdout, message)
            }
            LogOutput::StdIn { .. } => continue,
        };
        if bytes.is_empty() {
            continue;
        }
        if holds {
            let before = held.len();
            if stream == Stream::Stderr {
                held.extend_from_slice(&bytes);
                if may_be_all(&held) {
                    continue;
                }
                held.truncate(before);
            }
            // The command has been started, and writes such things itself.
            holds = false;
            if before > 0 {
                send(&sink, Stream::Stderr, std::mem::take(&mut held), discard).await;
            }
        }
        send(&sink, stream, bytes.to_vec(), discard).await;
    }
    if holds && held.starts_with(NOT_STARTED) {
        return Ok(Some(String::from_utf8_lossy(&held).into_owned()));
    }
    if !held.is_empty() {
        send(&sink, Stream::Stderr, held, discard).await;
    }
    Ok(None)
}

/// Whether this may be the beginning or all of what the first process says.
fn may_be_all(text: &[u8]) -> bool {
    let common = text.len().min(NOT_STARTED.len());
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    text[..common] == NOT_STARTED[..common] && !line.contains(&b'\n') && text.len() < LONGEST_LINE
}

/// Without a listener the container goes on.
async fn send(sink: &OutputSink, stream: Stream, bytes: Vec<u8>, discard: &CancellationToken) {
    tokio::select! {
        biased;
        _ = sink.send((stream, bytes)) => {}
        () = discard.cancelled() => {}
    }
}

/// The reason in a line such as `[FATAL tini (7)] exec name failed: No such file or directory`.
pub fn reason(line: &str) -> &str {
    line.trim_end().rsplit_once("failed: ").map_or(line.trim_end(), |(_, reason)| reason)
}
