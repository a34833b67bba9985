//! Volumes of the engine.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::VolumeCreateRequest;

use super::failure::failed;
use super::shared::Shared;
use super::users::Users;
use super::{labels, volume_archive};
use crate::driver::{DriverError, Volume};
use crate::volume::VolumeName;
use archive::Root;
use async_trait::async_trait;
use transfer::{LocalDirectory, VolumeAccess, VolumeArchive, VolumeStream};

/// Creates a volume, or finds the one that this run has created before.
pub async fn create(
    shared: &Arc<Shared>,
    name: &VolumeName,
    size: Option<u64>,
) -> Result<Volume, DriverError> {
    let created = match shared.volume(name) {
        Some(engine_name) => shared.docker.inspect_volume(&engine_name).await,
        None => make(shared, name, size).await,
    };
    let created =
        created.map_err(|error| failed(format!("cannot create volume `{name}`"), error))?;
    shared.know(name, created.name, size);
    let users = shared.users().await?;
    let access = match local(shared, users, Path::new(&created.mountpoint)) {
        Some(directory) => VolumeAccess::Local(directory),
        None => VolumeAccess::Stream(stream(shared, name).await?),
    };
    Ok(Volume { name: name.clone(), access, path: created.mountpoint })
}

/// A volume's content by way of the engine, which has the volume.
pub async fn stream(
    shared: &Arc<Shared>,
    name: &VolumeName,
) -> Result<Arc<dyn VolumeStream>, DriverError> {
    let root = match shared.users().await? {
        Users::Mapped(root) => root,
        Users::Same | Users::Inside => Root::default(),
    };
    Ok(Arc::new(EngineVolume { shared: shared.clone(), name: name.clone(), root }))
}

/// A volume whose content goes through the engine.
struct EngineVolume {
    shared: Arc<Shared>,
    name: VolumeName,
    root: Root,
}

#[async_trait]
impl VolumeStream for EngineVolume {
    fn root(&self) -> Root {
        self.root
    }

    async fn read(&self) -> io::Result<VolumeArchive> {
        let Self { shared, name, .. } = self;
        let lost = || format!("cannot read volume `{name}`");
        shared.unless_lost(lost, read(shared, name)).await.map_err(io::Error::other)
    }

    async fn write(&self, archive: VolumeArchive) -> io::Result<()> {
        let (shared, name) = (self.shared.clone(), self.name.clone());
        let lost = format!("cannot fill volume `{name}`");
        // To the end, even if nobody waits for it any more: what it makes has to be there, or gone, when
        // the run looks for what to remove. The archive ends with its sender.
        let filled =
            async move { shared.unless_lost(|| lost, fill(&shared, &name, archive)).await };
        self.shared.tasks.spawn(filled).await?.map_err(io::Error::other)
    }
}

async fn make(
    shared: &Shared,
    name: &VolumeName,
    size: Option<u64>,
) -> Result<bollard::models::Volume, Error> {
    let mut labels = shared.labels.clone();
    labels.insert(labels::NAME.to_owned(), name.to_string());
    let mut request = VolumeCreateRequest {
        name: Some(shared.volume_name(name)),
        labels: Some(labels),
        driver_opts: size.map(|bytes| HashMap::from([("size".to_owned(), bytes.to_string())])),
        ..Default::default()
    };
    match shared.docker.create_volume(request.clone()).await {
        // The local volume driver can do that on some file systems only.
        Err(Error::DockerResponseServerError { message, .. }) if request.driver_opts.is_some() => {
            (shared.notices)(format!(
                "the engine cannot bound the size of volumes, `size` has no effect: {}",
                message.trim()
            ));
            request.driver_opts = None;
            shared.docker.create_volume(request).await
        }
        created => created,
    }
}

/// Replaces a volume that is empty by one that has an archive's content: all of it, or the volume stays
/// as it is.
async fn fill(
    shared: &Arc<Shared>,
    name: &VolumeName,
    archive: VolumeArchive,
) -> Result<(), DriverError> {
    let context = || format!("cannot fill volume `{name}`");
    let Some((empty, size)) = shared.known(name) else { return Err(unknown(name)) };
    let new = make(shared, name, size).await.map_err(|error| failed(context(), error))?.name;
    let written = volume_archive::write(shared, name, &new, archive).await;
    let unused = match &written {
        Ok(()) => {
            shared.know(name, new, size);
            empty
        }
        Err(_) => new,
    };
    shared.remove_volume(&unused).await;
    written
}

/// Starts to read a volume.
async fn read(shared: &Arc<Shared>, name: &VolumeName) -> Result<VolumeArchive, DriverError> {
    match shared.volume(name) {
        Some(volume) => volume_archive::read(shared, name, &volume).await,
        None => Err(unknown(name)),
    }
}

fn unknown(name: &VolumeName) -> DriverError {
    DriverError::Refused(format!("there is no volume `{name}`"))
}

/// The volume's directory, if it is one of this machine. The random number of the run in its path
/// makes sure that it is this engine's.
fn local(shared: &Shared, users: Users, mountpoint: &Path) -> Option<LocalDirectory> {
    let above = mountpoint.parent()?;
    // A directory that may be read may be replaced by root alone.
    let usable = shared.engine.is_local
        // What is written there would have owners that no container knows.
        && users == Users::Same
        && mountpoint.is_dir()
        && rustix::fs::access(above, rustix::fs::Access::WRITE_OK).is_ok();
    // The engine removes all that is beside the volume's content with it.
    usable
        .then(|| LocalDirectory { path: PathBuf::from(mountpoint), staging: above.join("staging") })
}
