//! Volumes of the engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use bollard::errors::Error;
use bollard::models::VolumeCreateRequest;

use super::failure::failed;
use super::labels;
use super::shared::Shared;
use crate::driver::name::encoded;
use crate::driver::{DriverError, LocalDirectory, Volume};
use crate::volume::VolumeName;

/// Creates a volume, or finds the one that this run has created before.
pub async fn create(
    shared: &Shared,
    name: &VolumeName,
    size: Option<u64>,
) -> Result<Volume, DriverError> {
    let engine_name = format!("ci-{}-{}", shared.run, encoded(name.as_str()));
    let mut labels = shared.labels.clone();
    labels.insert(labels::NAME.to_owned(), name.to_string());
    let mut request =
        VolumeCreateRequest { name: Some(engine_name), labels: Some(labels), ..Default::default() };
    let known = shared.volume(name).is_some();
    if let Some(bytes) = size.filter(|_| !known) {
        request.driver_opts = Some(HashMap::from([("size".to_owned(), bytes.to_string())]));
    }
    let created = match shared.docker.create_volume(request.clone()).await {
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
    };
    let created =
        created.map_err(|error| failed(format!("cannot create volume `{name}`"), error))?;
    let mut volumes = shared.volumes.lock().unwrap_or_else(PoisonError::into_inner);
    volumes.insert(name.clone(), created.name);
    Ok(Volume {
        name: name.clone(),
        directory: local(shared, Path::new(&created.mountpoint)),
        path: created.mountpoint,
    })
}

/// The volume's directory, if it is one of this machine. The random number of the run in its path
/// makes sure that it is this engine's.
fn local(shared: &Shared, mountpoint: &Path) -> Option<LocalDirectory> {
    let above = mountpoint.parent()?;
    // A directory that may be read may be replaced by root alone.
    let usable = shared.is_local
        && mountpoint.is_dir()
        && rustix::fs::access(above, rustix::fs::Access::WRITE_OK).is_ok();
    // The engine removes all that is beside the volume's content with it.
    usable
        .then(|| LocalDirectory { path: PathBuf::from(mountpoint), staging: above.join("staging") })
}
