//! From a download to a volume's files.

use std::path::Path;

use super::VolumeCache;
use super::download::{Downloaded, unpack_options};
use super::transfer::Transfer;
use crate::archive::{self, Unpacked};
use crate::cache::Download;
use crate::driver::LocalDirectory;
use crate::remove::remove;

/// Replaces an empty volume by what the archive holds, or leaves it as it is.
pub async fn into(
    cache: &VolumeCache,
    directory: &LocalDirectory,
    download: Download,
    transfer: Transfer,
) -> Result<Unpacked, String> {
    let LocalDirectory { path, staging } = directory.clone();
    let compression = cache.config.compression;
    let options = unpack_options(&cache.config, cache.budget.clone());
    let mut source = Downloaded::until(download, transfer.over.clone());
    transfer
        .blocking(move |stop| {
            let mut unpack = || -> Result<Unpacked, String> {
                std::fs::create_dir(&staging).map_err(|error| error.to_string())?;
                let unpacked = archive::unpack(&mut source, compression, &staging, &options, stop)
                    .map_err(|error| error.to_string())?;
                std::fs::rename(&staging, &path).map_err(|error| error.to_string())?;
                Ok(unpacked)
            };
            unpack().map_err(|reason| cleared(&staging, reason))
        })
        .await?
}

/// Removes what was unpacked in vain, and adds to the reason if that fails too.
fn cleared(staging: &Path, reason: String) -> String {
    match remove(staging) {
        Ok(()) => reason,
        Err(error) => format!("{reason}; cannot remove `{}`: {error}", staging.display()),
    }
}
