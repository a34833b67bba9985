//! How an object takes its place.

use super::lock::DirectoryLock;
use super::sidecar::{Identity, Sidecar, metadata_file};
use super::store::DirectoryStore;
use super::temporary::Temporary;
use crate::error::StoreError;
use crate::key::CacheKey;
use crate::object::Metadata;
use crate::progress::Progress;
use crate::upload::PutCondition;

impl DirectoryStore {
    /// Puts an object and its metadata in the place of what is there, if the condition holds.
    pub(super) fn publish(
        &self,
        key: &CacheKey,
        mut object: Temporary,
        metadata: &Metadata,
        condition: &PutCondition,
    ) -> Result<Option<String>, StoreError> {
        let path = self.path(key);
        let identity = Identity::of(&object.metadata()?);
        let pairs = metadata.pairs().into_iter();
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
        let text = serde_json::to_vec(&Sidecar { identity, pairs })
            .map_err(|error| StoreError::Other(error.to_string()))?;
        let beside = metadata_file(&path);
        let mut described = Temporary::new(&beside)?;
        described.write(&text, &Progress::default())?;
        let lock = DirectoryLock::acquire(path.parent().unwrap_or(&self.root))?;
        loop {
            let found = self.open(key)?.map(|(_, info)| info);
            match (condition, &found) {
                (PutCondition::Version(etag), Some(found)) if found.etag == *etag => {}
                (PutCondition::Version(_), _) => {
                    return Err(StoreError::Replaced { key: key.clone() });
                }
                (PutCondition::Ours(known), Some(found))
                    if !found.metadata.is_ours() && *known != Some(found.etag.clone()) =>
                {
                    return Err(StoreError::Foreign { key: key.clone() });
                }
                (PutCondition::Ours(_) | PutCondition::None, _) => {}
            }
            if found.is_some() {
                described.publish(&beside)?;
                object.publish(&path)?;
                break;
            }
            // Programs that put something there in this moment know nothing of the lock.
            if object.publish_new(&path)? {
                described.publish(&beside)?;
                break;
            }
        }
        let is_compared = matches!(condition, PutCondition::Version(_));
        Ok((is_compared && !lock.is_held()).then(|| {
            format!(
                "the file system of `{}` has no locks, so what another machine wrote to `{key}` in \
                 the same moment may have been replaced",
                self.root.display()
            )
        }))
    }
}
