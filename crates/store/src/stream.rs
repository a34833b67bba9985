//! The two directions of an archive's bytes.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::StoreError;
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::progress::Progress;

/// The content of an object, in order. Dropping it cancels the transfer.
pub struct Download {
    key: CacheKey,
    chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
    size: u64,
    received: u64,
    /// What fills `chunks`.
    task: JoinHandle<()>,
}

/// The receiving side of an upload, to be handed to a store.
pub struct Upload {
    messages: mpsc::Receiver<Message>,
    /// What the sender has said at the end.
    pub(crate) metadata: Option<Metadata>,
    /// What the store does with what it was sent.
    pub(crate) progress: Progress,
}

/// The sending side of an upload. Dropping it without [`UploadSender::finish`] makes it fail.
pub struct UploadSender {
    messages: mpsc::Sender<Message>,
    progress: Progress,
}

/// The store has given the upload up; its `put` says why.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the store has given the upload up")]
pub struct UploadClosed;

enum Message {
    Chunk(Bytes),
    End(Option<Metadata>),
}

impl Download {
    /// `task` sends `size` bytes in order, or an error.
    pub(crate) fn new(
        key: CacheKey,
        size: u64,
        chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
        task: JoinHandle<()>,
    ) -> Self {
        Self { key, chunks, size, received: 0, task }
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes, never an empty chunk; `None` only after all bytes of the object.
    ///
    /// Cancel safe. After an error there is nothing more to read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self.chunks.recv().await {
            Some(Ok(chunk)) => {
                self.received += chunk.len() as u64;
                if self.received > self.size {
                    self.chunks.close();
                    return Err(self.length_error());
                }
                Ok(Some(chunk))
            }
            Some(Err(error)) => {
                self.chunks.close();
                Err(error)
            }
            None if self.received == self.size => Ok(None),
            None => Err(self.length_error()),
        }
    }

    fn length_error(&self) -> StoreError {
        StoreError::Length { key: self.key.clone(), expected: self.size, got: self.received }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upload {
    /// A channel that holds at most `chunks` chunks; larger chunks make it cheaper, and hold more.
    pub fn channel(chunks: usize) -> (UploadSender, Self) {
        let (sender, receiver) = mpsc::channel(chunks);
        let progress = Progress::default();
        let upload = Self { messages: receiver, metadata: None, progress: progress.clone() };
        (UploadSender { messages: sender, progress }, upload)
    }

    /// The next bytes, or `None` when the sender said that this was all.
    pub(crate) async fn next(&mut self, key: &CacheKey) -> Result<Option<Bytes>, StoreError> {
        match self.messages.recv().await {
            Some(Message::Chunk(chunk)) => Ok(Some(chunk)),
            Some(Message::End(metadata)) => {
                self.metadata = metadata;
                Ok(None)
            }
            None => Err(StoreError::Unfinished { key: key.clone() }),
        }
    }
}

impl UploadSender {
    /// What the store does with what it was sent, also after the end.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub async fn send(&self, chunk: Bytes) -> Result<(), UploadClosed> {
        self.messages.send(Message::Chunk(chunk)).await.map_err(|_| UploadClosed)
    }

    /// As [`UploadSender::send`], for threads outside of the runtime.
    ///
    /// # Panics
    /// When called from within an asynchronous task.
    pub fn blocking_send(&self, chunk: Bytes) -> Result<(), UploadClosed> {
        self.messages.blocking_send(Message::Chunk(chunk)).map_err(|_| UploadClosed)
    }

    /// Says that all bytes were sent, so that the store may publish them.
    ///
    /// What is known of the object only now takes the place of what [`CacheStore::put`] was given, if the
    /// store can still write it down: S3 wants it at the beginning of an upload in parts.
    ///
    /// [`CacheStore::put`]: crate::CacheStore::put
    pub async fn finish(self, metadata: Option<Metadata>) -> Result<(), UploadClosed> {
        self.messages.send(Message::End(metadata)).await.map_err(|_| UploadClosed)
    }

    /// As [`UploadSender::finish`], for threads outside of the runtime.
    ///
    /// # Panics
    /// When called from within an asynchronous task.
    pub fn blocking_finish(self, metadata: Option<Metadata>) -> Result<(), UploadClosed> {
        self.messages.blocking_send(Message::End(metadata)).map_err(|_| UploadClosed)
    }
}
