//! What a container writes, on its way to whoever listens.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures_util::{Stream as Chunks, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::driver::OutputSink;
use crate::task::Stream;

/// How the container's first process says that it could not start the command.
const NOT_STARTED: &[u8] = b"[FATAL tini (";

/// Hands over all that comes, in order. Returns what the container's first process said of a command
/// that it could not start, which is not the command's own output. When `discard` fires, nobody is
/// waited for any more.
pub async fn pump(
    mut chunks: Pin<Box<dyn Chunks<Item = Result<LogOutput, Error>> + Send>>,
    sink: OutputSink,
    discard: &CancellationToken,
) -> Result<Option<String>, Error> {
    let mut not_started = None;
    let mut first = true;
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
        let complains = stream == Stream::Stderr && bytes.starts_with(NOT_STARTED);
        if std::mem::take(&mut first) && complains {
            not_started = Some(bytes);
            continue;
        }
        // The command has been started, and writes such things itself.
        if let Some(held) = not_started.take() {
            send(&sink, Stream::Stderr, held.to_vec(), discard).await;
        }
        send(&sink, stream, bytes.to_vec(), discard).await;
    }
    Ok(not_started.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
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
