//! What is known of an archive without unpacking it.

use crate::cache::{CacheKey, CacheStore, ObjectInfo, StoreError};
use archive::Trailer;

/// What a store knows of an archive. What its metadata leave out because it was not known when its
/// upload began is read from the archive's end.
pub async fn describe(
    store: &dyn CacheStore,
    key: &CacheKey,
) -> Result<Option<ObjectInfo>, StoreError> {
    let found = store.tail(key, Trailer::SIZE as u64).await?;
    Ok(found.map(|(mut info, tail)| {
        if info.metadata.digest.is_none()
            && let Some(trailer) = Trailer::at_end(&tail)
        {
            info.metadata.digest = Some(trailer.digest.to_string());
            info.metadata.entries = Some(trailer.entries);
            info.metadata.content_bytes = Some(trailer.bytes);
        }
        info
    }))
}
