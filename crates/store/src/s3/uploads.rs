//! Uploads in parts that have begun and not ended.

use std::collections::HashSet;

use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;

use super::explain::is_absent;
use super::journal::{Journal, Live};
use super::listing::{incomplete, prefix_of};
use super::object::time;
use super::probe;
use super::remote::Remote;
use crate::error::StoreError;
use crate::key::{CacheKey, KeyPrefix};
use crate::upload::{UploadInfo, UploadWriter};

/// Uploads below a prefix whose keys have the form of this program's. A listing tells nothing that their
/// writers have said, so their form is all that there is to go by.
pub async fn list(
    remote: &Remote,
    journal: &Journal,
    prefix: &KeyPrefix,
) -> Result<Vec<UploadInfo>, StoreError> {
    let alive = journal.alive();
    let left: Vec<Live> = journal
        .left_behind()
        .into_iter()
        .map(|left| Live { key: left.key.clone(), upload: left.upload.clone() })
        .collect();
    let mut found = Vec::new();
    let mut marker: Option<(String, String)> = None;
    let mut seen = HashSet::new();
    loop {
        let (key_marker, id_marker) = marker.clone().unzip();
        let request = remote
            .client
            .list_multipart_uploads()
            .bucket(remote.bucket())
            .set_prefix(prefix_of(prefix))
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker);
        let page = remote.retried(&remote.patience(), || request.clone().send()).await;
        let page = page.map_err(|error| remote.explain(&error))?;
        for upload in page.uploads() {
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
            let Some(key) = key.parse::<CacheKey>().ok().filter(has_our_form) else { continue };
            let this = Live { key: key.to_string(), upload: id.to_owned() };
            let writer = if alive.contains(&this) {
                UploadWriter::Alive
            } else if left.contains(&this) {
                UploadWriter::Gone
            } else {
                UploadWriter::Unknown
            };
            found.push(UploadInfo {
                key,
                id: this.upload,
                begun: time(upload.initiated()),
                writer,
            });
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        match next_marker(&page) {
            None => return Err(incomplete(remote, "gives no marker to go on with")),
            Some(next) if !seen.insert(next.clone()) => {
                return Err(incomplete(remote, "gives the same marker again"));
            }
            next => marker = next,
        }
    }
    found.sort_by(|a, b| (&a.key, a.begun).cmp(&(&b.key, b.begun)));
    Ok(found)
}

fn next_marker(page: &ListMultipartUploadsOutput) -> Option<(String, String)> {
    let key = page.next_key_marker().filter(|key| !key.is_empty())?;
    Some((key.to_owned(), page.next_upload_id_marker().unwrap_or_default().to_owned()))
}

fn has_our_form(key: &CacheKey) -> bool {
    key.is_archive() || probe::is_probe(key)
}

/// Takes an upload back, and returns whether it was still there.
pub async fn abort(
    remote: &Remote,
    journal: &Journal,
    upload: &UploadInfo,
) -> Result<bool, StoreError> {
    let this = Live { key: upload.key.to_string(), upload: upload.id.clone() };
    if !has_our_form(&upload.key) || journal.alive().contains(&this) {
        return Ok(false);
    }
    abort_named(remote, &this.key, &this.upload).await
}

/// The same by key and id.
pub async fn abort_named(remote: &Remote, key: &str, id: &str) -> Result<bool, StoreError> {
    let request = remote.client.abort_multipart_upload().bucket(remote.bucket());
    let request = request.key(key).upload_id(id);
    match remote.retried(&remote.patience(), || request.clone().send()).await {
        Ok(_) => Ok(true),
        // Somebody else was faster, or it was completed in the last moment.
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(remote.explain(&error)),
    }
}
