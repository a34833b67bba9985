//! The content of volumes, by way of containers that are created and never started.
//!
//! The engine reads and writes files of such a container as archives. That takes neither an image with
//! programs nor rights on the engine's machine. See `GET` and `PUT /containers/{id}/archive` of
//! <https://docs.docker.com/reference/api/engine/>.

use std::sync::Arc;

use bollard::body_try_stream;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::failure::{failed, is_missing};
use super::lease::{EMPTY_IMAGE, make_empty_image};
use super::plan::mount;
use super::shared::Shared;
use super::sweep::remove_container;
use crate::driver::{DriverError, VolumeArchive};

/// Where such a container has the volume.
const PLACE: &str = "/volume";

/// The same, so that names in archives are relative to it.
const CONTENT: &str = "/volume/.";

/// How many chunks wait for whoever reads them.
const WAITING: usize = 4;

/// Starts to read a volume, which goes on until the archive ends or is dropped.
pub async fn read(shared: &Arc<Shared>, volume: &str) -> Result<VolumeArchive, DriverError> {
    let holder = create(shared, volume).await?;
    let (sender, archive) = mpsc::channel(WAITING);
    let reader = shared.clone();
    shared.tasks.spawn(async move {
        let options = DownloadFromContainerOptions { path: CONTENT.into() };
        {
            let docker = &reader.docker;
            let chunks = docker.download_from_container(&holder, Some(options));
            let end = stream::once(async { Ok(Bytes::new()) });
            let mut chunks = std::pin::pin!(chunks.try_filter(not_empty).chain(end));
            while let Some(chunk) = chunks.next().await {
                let is_last = chunk.is_err();
                if sender.send(chunk.map_err(std::io::Error::other)).await.is_err() || is_last {
                    break;
                }
            }
        }
        // What cannot be removed now is looked for again at the end, which reports it.
        _ = remove_container(&reader.docker, &holder).await;
    });
    Ok(archive)
}

/// Writes an archive into a volume.
pub async fn write(
    shared: &Arc<Shared>,
    volume: &str,
    archive: VolumeArchive,
) -> Result<(), DriverError> {
    let holder = create(shared, volume).await?;
    let chunks = stream::unfold(Some(archive), async |archive| {
        let mut archive = archive?;
        match archive.recv().await {
            Some(Ok(chunk)) if chunk.is_empty() => None,
            Some(Ok(chunk)) => Some((Ok(chunk), Some(archive))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(std::io::Error::other("the archive was cut off")), None)),
        }
    });
    let options = UploadToContainerOptions { path: PLACE.into(), ..Default::default() };
    let body = body_try_stream(chunks);
    let written = shared.docker.upload_to_container(&holder, Some(options), body).await;
    _ = remove_container(&shared.docker, &holder).await;
    written.map_err(|error| failed("the engine does not take the content of the volume", error))
}

/// An empty chunk would be the end.
fn not_empty(chunk: &Bytes) -> std::future::Ready<bool> {
    std::future::ready(!chunk.is_empty())
}

async fn create(shared: &Shared, volume: &str) -> Result<String, DriverError> {
    let body = ContainerCreateBody {
        image: Some(EMPTY_IMAGE.into()),
        cmd: Some(vec!["never-started".into()]),
        labels: Some(shared.labels.clone()),
        host_config: Some(HostConfig {
            mounts: Some(vec![mount(volume, PLACE)]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let name = Some(shared.container_name());
    let options = CreateContainerOptions { name, ..Default::default() };
    let created = match shared.docker.create_container(Some(options.clone()), body.clone()).await {
        // Somebody has cleared the engine's images since the run began.
        Err(error) if is_missing(&error) => {
            make_empty_image(&shared.docker).await?;
            shared.docker.create_container(Some(options), body).await
        }
        created => created,
    };
    let created =
        created.map_err(|error| failed("cannot create a container for a volume", error))?;
    Ok(created.id)
}
