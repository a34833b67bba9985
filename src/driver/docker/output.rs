//! What a container writes, on its way to whoever listens.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::Bytes;
use futures_util::{Stream as Chunks, StreamExt};
use tokio_util::sync::CancellationToken;

use super::init::{InitError, Report, Reports};
use super::process::Process;
use crate::driver::{TaskUpdate, UpdateSink};
use crate::task::Stream;

/// As much of the error output as shows who has written it, in bytes.
const BEGINNING: usize = 8192;

/// What a container writes, in frames.
pub type Output = Pin<Box<dyn Chunks<Item = Result<LogOutput, Error>> + Send>>;

/// What others than the command have said.
#[derive(Default)]
pub struct Said {
    /// The engine, of a command that it could not start.
    pub engine: Option<String>,
    /// The init process, of a command that it could not execute; or a command that writes the same.
    pub init_error: Option<Vec<u8>>,
    /// The init process, of the command's end.
    pub report: Option<Report>,
    /// The beginning of the command's error output.
    pub beginning: Vec<u8>,
}

/// Hands over all that the command with this path writes, in order, but for an [error of the init process](Said::init_error),
/// which is all that there is then. When `discard` fires, nobody is waited for any more.
pub async fn pump(
    mut chunks: Output,
    path: &str,
    sink: &UpdateSink,
    discard: &CancellationToken,
    process: &impl Process,
) -> Result<Said, Error> {
    let mut said = Said::default();
    let mut reports = Reports::new(path);
    let mut is_first = true;
    // What may be an error of the init process, as long as nothing else has come.
    let mut held: Option<Vec<u8>> = Some(Vec::new());
    while let Some(chunk) = chunks.next().await {
        let Some((stream, bytes)) = content(chunk?) else { continue };
        if std::mem::take(&mut is_first) && process.failed_with(&bytes).await {
            said.engine = Some(String::from_utf8_lossy(&bytes).into_owned());
            continue;
        }
        let bytes = match stream {
            Stream::Stdout => reports.push(&bytes),
            Stream::Stderr => bytes.to_vec(),
        };
        if bytes.is_empty() {
            continue;
        }
        if stream == Stream::Stderr {
            let room = BEGINNING - said.beginning.len();
            said.beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if let Some(mut before) = held.take() {
            if stream == Stream::Stderr {
                before.extend_from_slice(&bytes);
                if InitError::may_begin(&before, path) {
                    held = Some(before);
                    continue;
                }
                send(sink, stream, before, discard).await;
                continue;
            }
            // The command has been started, and writes such things itself.
            send(sink, Stream::Stderr, before, discard).await;
        }
        send(sink, stream, bytes, discard).await;
    }
    let (report, rest) = reports.finish();
    said.report = report;
    let held = held.unwrap_or_default();
    if rest.is_empty() && InitError::read(&held, path).is_some() {
        said.init_error = Some(held);
    } else {
        send(sink, Stream::Stderr, held, discard).await;
    }
    send(sink, Stream::Stdout, rest, discard).await;
    Ok(said)
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

/// Without a listener the container goes on.
pub async fn send(sink: &UpdateSink, stream: Stream, bytes: Vec<u8>, discard: &CancellationToken) {
    if bytes.is_empty() {
        return;
    }
    tokio::select! {
        biased;
        _ = sink.send(TaskUpdate::Output(stream, bytes)) => {}
        () = discard.cancelled() => {}
    }
}
