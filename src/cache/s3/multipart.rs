//! Uploads in parts, which are published as a whole or taken back.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::super::{CacheKey, Metadata, S3Location, StoreError};
use super::explain::{explain, is_absent};
use super::journal::Entry;
use super::{S3Store, headers, time};

/// The name of the token in an object's metadata.
const TOKEN: &str = "ci-upload";

/// An upload that has begun. Dropped before it was completed, it is taken back.
pub struct Multipart {
    client: Client,
    location: S3Location,
    key: CacheKey,
    upload: String,
    /// Stands in the object's metadata, unlike in that of any other upload.
    token: String,
    signs_payload: bool,
    cleanup: TaskTracker,
    entry: Option<Entry>,
    completed: bool,
}

impl Multipart {
    /// Begins on a task of its own: when this future is dropped meanwhile, the server may have begun all
    /// the same, and what it has begun is taken back.
    pub async fn begin(
        store: &S3Store,
        key: &CacheKey,
        metadata: &Metadata,
    ) -> Result<Self, StoreError> {
        let client = store.client().await?.clone();
        let token = uuid::Uuid::new_v4().to_string();
        let mut headers = headers(metadata);
        headers.insert(TOKEN.to_owned(), token.clone());
        let request = client
            .create_multipart_upload()
            .bucket(&store.location.bucket)
            .key(key.as_str())
            .set_metadata(Some(headers));
        let (location, journal) = (store.location.clone(), store.journal.clone());
        let (cleanup, signs_payload) = (store.cleanup.clone(), store.signs_payload());
        let key = key.clone();
        let (sender, begun) = oneshot::channel();
        store.cleanup.spawn(async move {
            let result = match request.send().await {
                Ok(begun) => {
                    let upload = begun.upload_id().unwrap_or_default().to_owned();
                    let entry = journal.note(key.as_str(), &upload);
                    Ok(Self {
                        client,
                        location,
                        key,
                        upload,
                        token,
                        signs_payload,
                        cleanup,
                        entry,
                        completed: false,
                    })
                }
                Err(error) => Err(explain(&location, &error)),
            };
            // If nobody is there to take it, it is dropped here.
            _ = sender.send(result);
        });
        let gone = || StoreError::Other("the upload was given up".to_owned());
        begun.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Sends a part; their numbers count from 1.
    pub async fn part(&self, number: i32, bytes: Bytes) -> Result<CompletedPart, StoreError> {
        let request = self
            .client
            .upload_part()
            .bucket(&self.location.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload)
            .part_number(number)
            .body(ByteStream::from(bytes))
            .customize();
        let request = match self.signs_payload {
            true => request,
            false => request.disable_payload_signing(),
        };
        let sent = request.send().await.map_err(|error| explain(&self.location, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag().map(str::to_owned))
            .build())
    }

    /// Whether the object is the one that this upload has made.
    async fn is_published(&self) -> bool {
        let request = self.client.head_object().bucket(&self.location.bucket);
        let found = request.key(self.key.as_str()).send().await;
        let token = |found: aws_sdk_s3::operation::head_object::HeadObjectOutput| {
            found.metadata()?.get(TOKEN).cloned()
        };
        found.ok().and_then(token).as_ref() == Some(&self.token)
    }

    /// Publishes the object.
    pub async fn complete(mut self, parts: Vec<CompletedPart>) -> Result<(), StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&self.location.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload)
            .multipart_upload(parts)
            .send()
            .await;
        match completed {
            Ok(_) => {}
            // The answer to an earlier attempt was lost, and that had been a success.
            Err(error) if is_absent(&error) && self.is_published().await => {}
            Err(error) => return Err(explain(&self.location, &error)),
        }
        self.completed = true;
        Ok(())
    }
}

impl Drop for Multipart {
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
            .bucket(&self.location.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload);
        // In the background, since whoever dropped this does not wait. `close` does.
        self.cleanup.spawn(async move {
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
    let listed = client.list_multipart_uploads().bucket(bucket).set_prefix(prefix).send().await;
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
