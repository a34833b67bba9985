//! The content of volumes, by way of containers that are created and never started.
//!
//! The engine reads and writes files of such a container as archives. That takes neither an image with
//! programs nor rights on the engine's machine. See `GET` and `PUT /containers/{id}/archive` of
//! <https://docs.docker.com/reference/api/engine/>.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{mpsc, watch};

use super::container;
use super::failure::failed;
use super::lease::{EMPTY_IMAGE, create_empty};
use super::plan::mount;
use super::shared::{Shared, silent};
use crate::driver::{DriverError, VolumeArchive};
use crate::volume::VolumeName;

/// Where such a container has the volume.
const PLACE: &str = "/volume";

/// The same, so that names in archives are relative to it.
const CONTENT: &str = "/volume/.";

/// All of a volume may take as long as it likes, if only there is progress.
const UNBOUNDED: Duration = Duration::from_hours(24 * 365);

/// How many chunks wait for whoever reads them.
const WAITING: usize = 4;

/// Starts to read a volume, which goes on until the archive ends or is dropped.
pub async fn read(
    shared: &Arc<Shared>,
    name: &VolumeName,
    volume: &str,
) -> Result<VolumeArchive, DriverError> {
    let holder = create(shared, name, volume).await?;
    let (sender, archive) = mpsc::channel(WAITING);
    let (reader, patience) = (shared.clone(), shared.config.patience);
    shared.tasks.spawn(async move {
        let options = DownloadFromContainerOptions { path: CONTENT.into() };
        {
            let docker = &reader.docker;
            let chunks = docker.download_from_container(&holder, Some(options));
            let end = stream::once(async { Ok(Bytes::new()) });
            let mut chunks = std::pin::pin!(chunks.try_filter(not_empty).chain(end));
            loop {
                let chunk = match tokio::time::timeout(patience, chunks.next()).await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    Err(_) => Err(stalled(patience)),
                };
                let is_last = chunk.is_err();
                if sender.send(chunk.map_err(std::io::Error::other)).await.is_err() || is_last {
                    break;
                }
            }
        }
        container::remove(&reader, &holder).await;
    });
    Ok(archive)
}

/// Writes an archive into a volume.
pub async fn write(
    shared: &Arc<Shared>,
    name: &VolumeName,
    volume: &str,
    archive: VolumeArchive,
) -> Result<(), DriverError> {
    let holder = create(shared, name, volume).await?;
    let patience = shared.config.patience;
    // Since when something is the engine's to do.
    let (busy, since) = watch::channel(Some(Instant::now()));
    let chunks = stream::unfold((Some(archive), busy), async |(archive, busy)| {
        let mut archive = archive?;
        busy.send_replace(None);
        let chunk = archive.recv().await;
        busy.send_replace(Some(Instant::now()));
        match chunk {
            Some(Ok(chunk)) if chunk.is_empty() => None,
            Some(Ok(chunk)) => Some((Ok(chunk), (Some(archive), busy))),
            Some(Err(error)) => Some((Err(error), (None, busy))),
            None => Some((Err(std::io::Error::other("the archive was cut off")), (None, busy))),
        }
    });
    let options = UploadToContainerOptions { path: PLACE.into(), ..Default::default() };
    let docker = shared.docker.clone().with_timeout(UNBOUNDED);
    let written = tokio::select! {
        written = docker.upload_to_container(&holder, Some(options), body_try_stream(chunks)) => written,
        () = idle(since, patience) => Err(stalled(patience)),
    };
    container::remove(shared, &holder).await;
    written.map_err(|error| failed("the engine does not take the content of the volume", error))
}

/// Waits until the engine has had something to do for too long.
async fn idle(since: watch::Receiver<Option<Instant>>, patience: Duration) {
    loop {
        let left = match *since.borrow() {
            Some(since) => patience.saturating_sub(since.elapsed()),
            None => patience,
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

fn stalled(patience: Duration) -> Error {
    Error::IOError { err: silent(patience) }
}

/// An empty chunk would be the end.
fn not_empty(chunk: &Bytes) -> std::future::Ready<bool> {
    std::future::ready(!chunk.is_empty())
}

async fn create(shared: &Shared, name: &VolumeName, volume: &str) -> Result<String, DriverError> {
    let mount = mount(&shared.labels, volume, PLACE);
    let body = ContainerCreateBody {
        image: Some(EMPTY_IMAGE.into()),
        cmd: Some(vec!["never-started".into()]),
        labels: Some(shared.labels.clone()),
        host_config: Some(HostConfig { mounts: Some(vec![mount]), ..Default::default() }),
        ..Default::default()
    };
    let holder = Some(shared.container_name());
    let options = CreateContainerOptions { name: holder, ..Default::default() };
    let context = "cannot create a container for a volume";
    let created = async {
        let created = create_empty(&shared.docker, options, body).await;
        let id = created.map_err(|error| failed(context, error))?.id;
        shared.confirm(&id, std::iter::once((name, volume))).await?;
        Ok(id)
    };
    shared.unless_lost(|| context.to_owned(), created).await
}
