//! The objects below a prefix.

use std::collections::HashSet;

use super::explain;
use super::object::{size, time};
use super::remote::Remote;
use crate::error::StoreError;
use crate::key::{CacheKey, KeyPrefix};
use crate::object::{Metadata, ObjectInfo};

/// All objects whose keys are those of archives, sorted by key, without their metadata.
pub async fn objects(remote: &Remote, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    let mut seen = HashSet::new();
    loop {
        let request = remote
            .client
            .list_objects_v2()
            .bucket(remote.bucket())
            .set_prefix(prefix_of(prefix))
            .set_continuation_token(token.clone());
        let page = remote.retried(&remote.patience(), || request.clone().send()).await;
        let page = page.map_err(|error| remote.explain(&error))?;
        for object in page.contents() {
            // What has no proper key is none of this program's objects.
            let key = object.key().and_then(|key| key.parse::<CacheKey>().ok());
            let Some(key) = key.filter(CacheKey::is_archive) else { continue };
            found.push(ObjectInfo {
                key,
                size: size(object.size()),
                modified: time(object.last_modified()),
                used: None,
                etag: object.e_tag().unwrap_or_default().to_owned(),
                metadata: Metadata::default(),
            });
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        match page.next_continuation_token() {
            None | Some("") => return Err(incomplete(remote, "gives no token to go on with")),
            Some(next) if !seen.insert(next.to_owned()) => {
                return Err(incomplete(remote, "gives the same token again"));
            }
            Some(next) => token = Some(next.to_owned()),
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// What the keys below a prefix start with.
pub fn prefix_of(prefix: &KeyPrefix) -> Option<String> {
    (!prefix.is_empty()).then(|| format!("{prefix}/"))
}

/// A listing that goes on, but not in a way that leads anywhere.
pub fn incomplete(remote: &Remote, how: &str) -> StoreError {
    let server = explain::server(&remote.location);
    StoreError::Other(format!(
        "the listing of `{server}` is incomplete: it says that there is more, and {how}"
    ))
}
