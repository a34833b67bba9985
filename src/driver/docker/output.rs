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

/// How the init process says that it could not start a command.
const NOT_STARTED: &[u8] = b"[FATAL tini (";

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
    let mut held: Option<(Stream, Vec<u8>)> = None;
    let mut first = true;
    while let Some(chunk) = chunks.next().await {
        let Some((stream, bytes)) = content(chunk?) else { continue };
        match &mut held {
            // The init process writes its line in pieces.
            Some((Stream::Stderr, line)) if stream == Stream::Stderr && !line.ends_with(b"\n") => {
                line.extend_from_slice(&bytes);
                continue;
            }
            _ => {}
        }
        if std::mem::take(&mut first)
            && (is_complaint(stream, &bytes) || process.failed_with(&bytes).await)
        {
            held = Some((stream, bytes.to_vec()));
            continue;
        }
        // The command has been started, and writes such things itself.
        if let Some((stream, held)) = held.take() {
            send(&sink, stream, held, discard).await;
        }
        send(&sink, stream, bytes.to_vec(), discard).await;
    }
    Ok(held.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()))
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

/// Whether the init process may have written this about a command that it could not start.
pub fn is_complaint(stream: Stream, bytes: &[u8]) -> bool {
    stream == Stream::Stderr && bytes.starts_with(NOT_STARTED)
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
