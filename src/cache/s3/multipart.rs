//! Uploads in parts, which are published as a whole or taken back.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::super::{CacheKey, Metadata, StoreError};
use super::explain::explain;
use super::journal::Entry;
use super::{S3Store, headers, time};

/// An upload that has begun. Dropped before it was completed, it is taken back.
pub struct Multipart<'a> {
    store: &'a S3Store,
    client: Client,
    key: CacheKey,
    upload: String,
    entry: Option<Entry>,
    completed: bool,
}

impl<'a> Multipart<'a> {
    pub async fn begin(
        store: &'a S3Store,
        key: &CacheKey,
        metadata: &Metadata,
    ) -> Result<Self, StoreError> {
        let client = store.client().await?.clone();
        let begun = client
            .create_multipart_upload()
            .bucket(&store.location.bucket)
            .key(key.as_str())
            .set_metadata(Some(headers(metadata)))
            .send()
            .await
            .map_err(|error| explain(&store.location, &error))?;
        let upload = begun.upload_id().unwrap_or_default().to_owned();
        let entry = store.journal.note(key.as_str(), &upload);
        Ok(Self { store, client, key: key.clone(), upload, entry, completed: false })
    }

    /// Sends a part; their numbers count from 1.
    pub async fn part(&self, number: i32, bytes: Bytes) -> Result<CompletedPart, StoreError> {
        let request = self
            .client
            .upload_part()
            .bucket(&self.store.location.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload)
            .part_number(number)
            .body(ByteStream::from(bytes))
            .customize();
        let request = match self.store.signs_payload() {
            true => request,
            false => request.disable_payload_signing(),
        };
        let sent =
            request.send().await.map_err(|error| explain(&self.store.location, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag().map(str::to_owned))
            .build())
    }

    /// Publishes the object.
    pub async fn complete(mut self, parts: Vec<CompletedPart>) -> Result<(), StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.client
            .complete_multipart_upload()
            .bucket(&self.store.location.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| explain(&self.store.location, &error))?;
        self.completed = true;
        Ok(())
    }
}

impl Drop for Multipart<'_> {
    fn drop(&mut self) {
        let entry = self.entry.take();
        if self.completed {
            if let Some(entry) = entry {
                entry.forget();
            }
            return;
        }
        let abort = self
            .client
            .abort_multipart_upload()
            .bucket(&self.store.location.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload);
        // In the background, since whoever dropped this does not wait. `close` does.
        self.store.cleanup.spawn(async move {
            if abort.send().await.is_ok()
                && let Some(entry) = entry
            {
                entry.forget();
            }
        });
    }
}

/// Takes back uploads below the store's prefix that began so long ago that no writer can be alive.
/// Returns how many. A server that does not list them, or forbids it, has none.
pub async fn abort_old(store: &S3Store, client: &Client, age: Duration) -> u64 {
    let bucket = &store.location.bucket;
    let prefix = match store.location.prefix.as_str() {
        "" => None,
        prefix => Some(format!("{prefix}/")),
    };
    let listed =
        client.list_multipart_uploads().bucket(bucket).set_prefix(prefix).send().await;
    let Ok(listed) = listed else { return 0 };
    let mut aborted = 0;
    for upload in listed.uploads() {
        let begun = time(upload.initiated());
        let old = SystemTime::now().duration_since(begun).is_ok_and(|since| since > age);
        if let (true, Some(key), Some(id)) = (old, upload.key(), upload.upload_id()) {
            let abort = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id);
            aborted += u64::from(abort.send().await.is_ok());
        }
    }
    aborted
}
