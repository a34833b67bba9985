//! From a volume's files to an upload.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::VolumeCache;
use super::content::Content;
use super::download::limits;
use super::transfer::{CANCELLED, Interrupt, Transfer};
use crate::cache::{CacheKey, Metadata, PutCondition, StoreError, Upload, UploadSender};
use archive::{self, PackOptions, Packed, Sink, Snapshot, Stage, Survey, Wake};

/// How a persist ended that did not fail.
pub enum Outcome {
    Published(Packed),
    /// Files changed, so that the metadata would have been of another tree; nothing was published.
    Changing,
    /// The condition of the upload does not hold, as the error says; nothing was published.
    Kept(StoreError),
}

/// How many compressed frames wait for the store.
const WAITING: usize = 2;

pub async fn survey(
    cache: &VolumeCache,
    content: Content,
    known: Option<Arc<Snapshot>>,
    transfer: &Transfer,
) -> Result<Survey, String> {
    let options = options(cache);
    transfer
        .blocking(move |control| content.survey(known, &options, control))
        .await?
        .map_err(|error| error.to_string())
}

pub async fn is_empty(
    cache: &VolumeCache,
    content: Content,
    transfer: &Transfer,
) -> Result<bool, String> {
    let options = options(cache);
    transfer
        .blocking(move |control| content.has_nothing(&options, control))
        .await?
        .map_err(|error| error.to_string())
}

/// Packs a volume and publishes the archive. If `metadata` has a digest, the tree has to be still the one
/// that it is of.
pub async fn from(
    cache: &VolumeCache,
    content: Content,
    key: &CacheKey,
    metadata: Metadata,
    condition: &PutCondition,
    transfer: Transfer,
) -> Result<Outcome, String> {
    let (sender, parts) = Upload::channel(WAITING);
    transfer.follow(sender.progress());
    let (options, mut described) = (options(cache), metadata.clone());
    let over = transfer.over.child_token();
    let mut sink = Uploading { sender, over, runtime: Handle::current() };
    let pack = transfer.blocking(move |control| {
        let packed = content.pack(&options, &mut sink, control)?;
        let digest = packed.digest.to_string();
        let publish = described.digest.as_ref().is_none_or(|expected| *expected == digest);
        if publish {
            described.digest = Some(digest);
            described.entries = Some(packed.entries);
            described.content_bytes = Some(packed.bytes);
            // A store that has gone away says so itself.
            _ = sink.sender.blocking_finish(Some(described));
        }
        Ok::<_, archive::PackError>((packed, publish))
    });
    // Side by side: the store takes parts while later ones are being packed. A store that fails drops
    // its end, which ends the packing, and the other way round.
    let pack = async {
        let packed = pack.await;
        // From now on the store is what is waited for.
        (packed, transfer.enter(Stage::Upload))
    };
    let put = transfer.bounded(cache.store.put(key, &metadata, condition, parts));
    let ((packed, _uploading), stored) = tokio::join!(pack, put);
    let is_kept = |error: &StoreError| {
        matches!(error, StoreError::Replaced { .. } | StoreError::Foreign { .. })
    };
    let (packed, stored) = match (packed?, stored) {
        (_, Ok(Err(error))) if is_kept(&error) => return Ok(Outcome::Kept(error)),
        both => both,
    };
    let (mut packed, publish) = match (packed, &stored) {
        (Ok(packed), _) => packed,
        // The store's reason is why the sink failed.
        (Err(archive::PackError::Sink(_)), Ok(Err(error))) => return Err(error.to_string()),
        (Err(error), _) => return Err(error.to_string()),
    };
    if !publish {
        return Ok(Outcome::Changing);
    }
    let stored = stored?.map_err(|error| error.to_string())?;
    packed.notices.extend(stored.notice);
    Ok(Outcome::Published(packed))
}

fn options(cache: &VolumeCache) -> PackOptions {
    PackOptions {
        compression: cache.config.compression,
        outside_links: cache.config.outside_links,
        setuid: cache.config.setuid,
        limits: limits(&cache.config),
        budget: cache.budget.clone(),
    }
}

/// An upload as a thread writes it.
struct Uploading {
    sender: UploadSender,
    over: CancellationToken,
    runtime: Handle,
}

impl Sink for Uploading {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.over.cancelled() => Err(io::Error::other(CANCELLED)),
                sent = self.sender.send(chunk) => sent.map_err(io::Error::other),
            }
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(Interrupt(self.over.clone())))
    }
}
