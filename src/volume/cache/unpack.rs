//! From a download to a volume's files.

use std::path::Path;

use super::VolumeCache;
use super::content::Sent;
use super::download::{Downloaded, unpack_options};
use super::failure::{RestoreError, confirmed};
use super::transfer::{CANCELLED, Transfer};
use crate::cache::{CacheKey, Download, Metadata};
use crate::driver::{Driver, LocalDirectory, Volume};
use crate::remove::remove;
use archive::{self, Stage, TreeDigest, UnpackError, UnpackOptions, Unpacked};

/// Replaces an empty volume by what the archive holds, or leaves it as it is.
pub async fn into(
    cache: &VolumeCache,
    driver: &dyn Driver,
    volume: &Volume,
    stored: &Metadata,
    download: Download,
    transfer: Transfer,
) -> Result<Unpacked, RestoreError> {
    let options = unpack_options(&cache.config, stored, cache.budget.clone());
    match &volume.directory {
        Some(directory) => into_directory(cache, directory, options, download, transfer).await,
        None => into_driver(cache, driver, volume, options, download, transfer).await,
    }
}

/// Reads an archive to its end, and returns the digest of the tree that it holds. `None` if there is no
/// archive, or one of another program.
pub async fn read(
    cache: &VolumeCache,
    key: &CacheKey,
    transfer: Transfer,
) -> Result<Option<TreeDigest>, RestoreError> {
    let downloading = transfer.enter(Stage::Download);
    let found = transfer.bounded(cache.store.get(key)).await?;
    drop(downloading);
    let Some((info, download)) = found.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let options = unpack_options(&cache.config, &info.metadata, cache.budget.clone());
    let compression = cache.config.compression;
    let mut source = Downloaded::until(download, transfer.over.clone());
    let verified = transfer
        .blocking(move |control| archive::verify(&mut source, compression, &options, control))
        .await?;
    verified.map(|verified| verified.digest).map_err(RestoreError::Unpack)
}

async fn into_directory(
    cache: &VolumeCache,
    directory: &LocalDirectory,
    options: UnpackOptions,
    download: Download,
    transfer: Transfer,
) -> Result<Unpacked, RestoreError> {
    let LocalDirectory { path, staging } = directory.clone();
    let compression = cache.config.compression;
    let mut source = Downloaded::until(download, transfer.over.clone());
    transfer
        .blocking(move |control| {
            let mut unpack = || -> Result<Unpacked, RestoreError> {
                let writing = control.enter(Stage::Write);
                std::fs::create_dir(&staging).map_err(|error| error.to_string())?;
                drop(writing);
                let unpacked =
                    archive::unpack(&mut source, compression, &staging, &options, control)
                        .map_err(|error| confirmed(error, &mut source, control))?;
                // From here on it is too late to say that the volume is empty.
                control.commit().map_err(|_| CANCELLED.to_owned())?;
                let _writing = control.enter(Stage::Write);
                std::fs::rename(&staging, &path).map_err(|error| error.to_string())?;
                Ok(unpacked)
            };
            unpack().map_err(|error| {
                let _writing = control.enter(Stage::Write);
                cleared(&staging, error)
            })
        })
        .await?
}

/// Removes what was unpacked in vain, and adds to the reason if that fails too.
fn cleared(staging: &Path, error: RestoreError) -> RestoreError {
    match remove(staging) {
        Ok(()) => error,
        // A local reason, whatever the archive is like.
        Err(removing) => RestoreError::Other(format!(
            "{error}; cannot remove `{}`: {removing}",
            staging.display()
        )),
    }
}

/// The driver unpacks what has been checked here.
async fn into_driver(
    cache: &VolumeCache,
    driver: &dyn Driver,
    volume: &Volume,
    options: UnpackOptions,
    download: Download,
    transfer: Transfer,
) -> Result<Unpacked, RestoreError> {
    let compression = cache.config.compression;
    let mut source = Downloaded::until(download, transfer.over.clone());
    let (mut sent, archive) = Sent::until(&transfer.over);
    let relay = transfer.blocking(move |control| {
        let relayed = archive::relay(&mut source, compression, &options, &mut sent, control);
        if relayed.is_ok() {
            sent.finish();
        }
        relayed.map_err(|error| confirmed(error, &mut source, control))
    });
    let write = transfer.bounded(driver.write_volume(&volume.name, archive));
    let (relayed, written) = tokio::join!(relay, write);
    match (relayed?, written?) {
        (Ok(relayed), Ok(())) => Ok(relayed),
        // The driver's reason is why it did not take more.
        (Ok(_) | Err(RestoreError::Unpack(UnpackError::Sink(_))), Err(error)) => {
            Err(RestoreError::Other(error.to_string()))
        }
        (Err(error), _) => Err(error),
    }
}
