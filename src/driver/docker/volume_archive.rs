//! The content of volumes, by way of containers that are created and never started.
//!
//! The engine reads and writes files of such a container as archives. That takes neither an image with
//! programs nor rights on the engine's machine. See `GET` and `PUT /containers/{id}/archive` of
//! <https://docs.docker.com/reference/api/engine/>.
//!
//! This way is taken where the engine's directories are out of reach, which is usual for who is not root, and
//! where the engine maps users, since files on its machine have owners that no container knows. A restore
//! fills a new volume, which takes the place of the empty one when the engine has taken all of it. The
//! archive was validated here before, as if it were unpacked. What the engine sends becomes the same archive
//! that the tree itself would, so a laptop and a fleet share objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, InspectContainerOptions,
    UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use super::container;
use super::failure::{failed, is_missing, words};
use super::lease::{EMPTY_IMAGE, create_empty};
use super::plan::mount;
use super::shared::{Shared, silent};
use crate::driver::DriverError;
use crate::volume::VolumeName;
use transfer::VolumeArchive;

/// Where such a container has the volume.
const PLACE: &str = "/volume";

/// The same, so that names in archives are relative to it.
const CONTENT: &str = "/volume/.";

/// All of a volume may take as long as it likes, if only there is progress.
const UNBOUNDED: Duration = Duration::from_hours(24 * 365);

/// How many chunks wait for whoever reads them.
const WAITING: usize = 4;

/// How often to make another container when somebody removes the one that is not started, as
/// `docker container prune` does.
const ATTEMPTS: usize = 8;

/// How much of an archive is kept to be sent again, in bytes.
const KEPT: usize = 1 << 20;

/// Starts to read a volume, which goes on until the archive ends or is dropped.
pub async fn read(
    shared: &Arc<Shared>,
    name: &VolumeName,
    volume: &str,
) -> Result<VolumeArchive, DriverError> {
    let mut holder = create(shared, name, volume).await?;
    let (sender, archive) = mpsc::channel(WAITING);
    let (reader, name, volume) = (shared.clone(), name.clone(), volume.to_owned());
    shared.tasks.spawn(async move {
        for attempt in 1.. {
            let is_done = send(&reader, &holder, &sender, attempt < ATTEMPTS).await;
            reader.remove_container(&holder).await;
            if is_done {
                return;
            }
            holder = match create(&reader, &name, &volume).await {
                Ok(holder) => holder,
                Err(error) => {
                    _ = sender.send(Err(std::io::Error::other(error))).await;
                    return;
                }
            };
        }
    });
    Ok(archive)
}

/// Reads a volume through a container. `false` if that was gone before anything was read, and `again` says
/// that there is another attempt.
async fn send(
    shared: &Shared,
    holder: &str,
    sender: &mpsc::Sender<std::io::Result<Bytes>>,
    again: bool,
) -> bool {
    let patience = shared.config.patience;
    let options = DownloadFromContainerOptions { path: CONTENT.into() };
    let chunks = shared.docker.download_from_container(holder, Some(options));
    let mut chunks = std::pin::pin!(chunks.try_filter(not_empty));
    let mut is_first = true;
    loop {
        let next = tokio::select! {
            next = timeout(patience, chunks.next()) => next.ok(),
            () = shared.lost.cancelled() => None,
        };
        let chunk = match next {
            Some(Some(Err(error))) => {
                if is_first && again && container::is_removed(shared, holder, &error).await {
                    return false;
                }
                Err(error)
            }
            Some(Some(chunk)) => chunk,
            // A volume stays for as long as a container has it. Without that, files may have gone while the
            // engine was reading, which it does not tell.
            Some(None) => {
                match shared.docker.inspect_container(holder, None::<InspectContainerOptions>).await
                {
                    Ok(_) => Ok(Bytes::new()),
                    Err(error) if is_missing(&error) => Err(std::io::Error::other(
                        "somebody has removed the container through which the volume was read, as \
                     `docker container prune` does",
                    )
                    .into()),
                    Err(error) => Err(error),
                }
            }
            None => Err(stalled(patience)),
        };
        is_first = false;
        let is_last = chunk.as_ref().map_or(true, Bytes::is_empty);
        let chunk = chunk.map_err(|error| std::io::Error::other(words(error)));
        if sender.send(chunk).await.is_err() || is_last {
            return true;
        }
    }
}

/// Writes an archive into a volume.
pub async fn write(
    shared: &Arc<Shared>,
    name: &VolumeName,
    volume: &str,
    archive: VolumeArchive,
) -> Result<(), DriverError> {
    let source = Arc::new(Mutex::new(Source { archive, sent: Vec::new(), length: 0 }));
    for attempt in 1.. {
        let holder = create(shared, name, volume).await?;
        let written = write_once(shared, &holder, source.clone()).await;
        let is_removed = match &written {
            Err(error) => container::is_removed(shared, &holder, error).await,
            Ok(()) => false,
        };
        shared.remove_container(&holder).await;
        match written {
            // What it has taken is lost, but may be at hand.
            Err(_) if is_removed && attempt < ATTEMPTS && source.lock().await.is_whole() => {}
            written => {
                let context = "the engine does not take the content of the volume";
                return written.map_err(|error| failed(context, error));
            }
        }
    }
    Ok(())
}

/// An archive that is being sent.
struct Source {
    archive: VolumeArchive,
    /// What has been taken from the archive, unless that was too much.
    sent: Vec<Bytes>,
    length: usize,
}

impl Source {
    fn is_whole(&self) -> bool {
        self.length <= KEPT
    }

    /// The chunk with this number. `None` at the end.
    async fn chunk(&mut self, number: usize) -> Option<std::io::Result<Bytes>> {
        if self.is_whole()
            && let Some(chunk) = self.sent.get(number)
        {
            return (!chunk.is_empty()).then(|| Ok(chunk.clone()));
        }
        let Some(chunk) = self.archive.recv().await else {
            return Some(Err(std::io::Error::other("the archive was cut off")));
        };
        if let Ok(chunk) = &chunk {
            self.length += chunk.len();
            match self.is_whole() {
                true => self.sent.push(chunk.clone()),
                false => self.sent.clear(),
            }
        }
        match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            chunk => Some(chunk),
        }
    }
}

async fn write_once(
    shared: &Shared,
    holder: &str,
    source: Arc<Mutex<Source>>,
) -> Result<(), Error> {
    let patience = shared.config.patience;
    // Since when something is the engine's to do.
    let (busy, since) = watch::channel(Some(Instant::now()));
    let chunks = stream::unfold((Some(source), busy, 0), async |(source, busy, number)| {
        let source = source?;
        busy.send_replace(None);
        let chunk = source.lock().await.chunk(number).await;
        busy.send_replace(Some(Instant::now()));
        let chunk = chunk?;
        let rest = chunk.is_ok().then_some(source);
        Some((chunk, (rest, busy, number + 1)))
    });
    let options = UploadToContainerOptions { path: PLACE.into(), ..Default::default() };
    let docker = shared.docker.clone().with_timeout(UNBOUNDED);
    tokio::select! {
        written = docker.upload_to_container(holder, Some(options), body_try_stream(chunks)) => written,
        () = idle(since, patience) => Err(stalled(patience)),
    }
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
