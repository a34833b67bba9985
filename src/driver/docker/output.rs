//! What a container writes, on its way to whoever listens.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::Bytes;
use futures_util::{Stream as Chunks, StreamExt};
use tokio_util::sync::CancellationToken;

use super::attend::Process;
use crate::driver::OutputSink;
use crate::task::Stream;

/// How the init process says that it could not start a command. It comes in pieces.
const NOT_STARTED: &[u8] = b"[FATAL tini (";

/// More than a path may have.
const LONGEST_LINE: usize = 8192;

/// What a container writes, in frames.
pub type Output = Pin<Box<dyn Chunks<Item = Result<LogOutput, Error>> + Send>>;

/// Hands over all that comes, in order. Returns what the engine or the init process said of a command
/// that they could not start, which is not the command's own output. When `discard` fires, nobody is
/// waited for any more.
pub async fn pump(
    mut chunks: Output,
    sink: OutputSink,
    discard: &CancellationToken,
    process: &impl Process,
) -> Result<Option<String>, Error> {
    let mut first = true;
    let mut held: Option<Held> = None;
    while let Some(chunk) = chunks.next().await {
        let Some((stream, bytes)) = content(chunk?) else { continue };
        if std::mem::take(&mut first) {
            let is_engines = process.failed_with(&bytes).await;
            if is_engines || may_be_complaint(stream, &bytes) {
                held = Some(Held { stream, bytes: bytes.to_vec(), is_engines });
                continue;
            }
        } else if let Some(mut all) = held.take() {
            let before = all.bytes.len();
            all.bytes.extend_from_slice(&bytes);
            if stream == all.stream && may_be_complaint(stream, &all.bytes) {
                held = Some(all);
                continue;
            }
            // The command has been started, and writes such things itself.
            all.bytes.truncate(before);
            send(&sink, all.stream, all.bytes, discard).await;
        }
        send(&sink, stream, bytes.to_vec(), discard).await;
    }
    match held {
        Some(held) if held.is_engines || is_complaint(&held.bytes) => {
            Ok(Some(String::from_utf8_lossy(&held.bytes).into_owned()))
        }
        Some(held) => {
            send(&sink, held.stream, held.bytes, discard).await;
            Ok(None)
        }
        None => Ok(None),
    }
}

/// Output that may be about a command that was not started.
struct Held {
    stream: Stream,
    bytes: Vec<u8>,
    is_engines: bool,
}

/// What a frame carries, if that is anything.
pub fn content(frame: LogOutput) -> Option<(Stream, Bytes)> {
    let (stream, bytes) = match frame {
        LogOutput::StdErr { message } => (Stream::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
        LogOutput::StdIn { .. } => return None,
    };
    (!bytes.is_empty()).then_some((stream, bytes))
}

/// Whether the init process has written this about a command that it could not start.
pub fn is_complaint(bytes: &[u8]) -> bool {
    bytes.starts_with(NOT_STARTED)
}

/// Whether this is what the init process writes about a command that it could not start, or the
/// beginning of that.
fn may_be_complaint(stream: Stream, bytes: &[u8]) -> bool {
    let common = bytes.len().min(NOT_STARTED.len());
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    stream == Stream::Stderr
        && bytes[..common] == NOT_STARTED[..common]
        && !line.contains(&b'\n')
        && bytes.len() < LONGEST_LINE
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
