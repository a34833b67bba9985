//! What is known of an archive without unpacking it.
//!
//! What proves that an object is ours is its metadata: on S3 user metadata, in a directory a file that names
//! the inode, size and time of the one file it is about. Where these are lost, the content proves it. Stores
//! know nothing of tar, so they are given the ETag of such an object as one that may be replaced.

use archive::{Compression, Trailer, is_announced};
use store::{CacheKey, CacheStore, ObjectInfo, PutCondition, StoreError};

/// What a store knows of an archive. What its metadata leave out because it was not known when its
/// upload began is read from the archive's end.
pub async fn describe(
    store: &dyn CacheStore,
    key: &CacheKey,
) -> Result<Option<ObjectInfo>, StoreError> {
    Ok(look(store, key).await?.map(|seen| seen.info))
}

/// What a look at an object and at its end has shown.
pub struct Seen {
    pub info: ObjectInfo,
    /// It ends as archives of this program do.
    has_trailer: bool,
}

pub async fn look(store: &dyn CacheStore, key: &CacheKey) -> Result<Option<Seen>, StoreError> {
    let found = store.tail(key, Trailer::SIZE as u64).await?;
    Ok(found.map(|(mut info, tail)| {
        let trailer = Trailer::at_end(&tail);
        if info.metadata.digest.is_none()
            && let Some(trailer) = &trailer
        {
            info.metadata.digest = Some(trailer.digest.to_string());
            info.metadata.entries = Some(trailer.entries);
            info.metadata.content_bytes = Some(trailer.bytes);
        }
        Seen { info, has_trailer: trailer.is_some() }
    }))
}

/// The condition under which an archive may take the place of what was seen under its key: nothing, or
/// what this program wrote. Anything else is [`StoreError::Foreign`].
///
/// Metadata say who wrote an object. They are lost when it is copied or moved, in a directory, and then its
/// content says it: at its end, and at its start if it was cut off. An empty object has nothing that could
/// be lost.
pub async fn replaceable(
    store: &dyn CacheStore,
    key: &CacheKey,
    seen: Option<&Seen>,
    compression: Compression,
) -> Result<PutCondition, StoreError> {
    let Some(Seen { info, has_trailer }) = seen else { return Ok(PutCondition::Ours(None)) };
    if info.metadata.is_ours() {
        return Ok(PutCondition::Ours(None));
    }
    if *has_trailer || info.size == 0 {
        return Ok(PutCondition::Ours(Some(info.etag.clone())));
    }
    match store.start(key, archive::START as u64).await? {
        // Somebody has removed it, or put another one there. Publishing compares once more.
        None => Ok(PutCondition::Ours(None)),
        Some((now, _)) if now.metadata.is_ours() => Ok(PutCondition::Ours(None)),
        Some((now, start)) if is_announced(&start, compression) => {
            Ok(PutCondition::Ours(Some(now.etag)))
        }
        Some(_) => Err(StoreError::Foreign { key: key.clone() }),
    }
}
