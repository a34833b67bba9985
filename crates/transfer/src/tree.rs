//! The content of a volume behind an engine, to and from a directory of this machine, without a store.
//!
//! What is sent was validated here as if it were unpacked, and what an engine sends becomes an archive of ours
//! before it is unpacked, so both ways keep the promises of a restore.

use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::{
    Budget, Compression, Limits, OutsideLinks, PackOptions, Root, Setuid, UnpackOptions,
};
use tokio_util::sync::CancellationToken;

use super::content::Content;
use super::streams::{NO_MORE, Received, Sent};
use super::{Deadlines, TransferError, VolumeAccess, VolumeStream, Watchdog};

/// How long nothing may move.
const STALL: Duration = Duration::from_secs(120);

/// How long all of it may take. Whoever waits can cancel it before.
const BUDGET: Duration = Duration::from_hours(24);

const DEADLINES: Deadlines = Deadlines { stall: STALL, budget: BUDGET, spent: Duration::ZERO };

/// Fills an empty volume with the content of a directory. Links stay as they are, wherever they lead.
///
/// The volume has all of it when this has succeeded, and is empty otherwise.
pub async fn send_tree(
    directory: &Path,
    volume: &dyn VolumeStream,
    budget: &Budget,
    cancel: &CancellationToken,
) -> Result<(), TransferError> {
    let watchdog = Watchdog::start(DEADLINES, false, cancel).without_settings();
    let (mut packed, archive) = Sent::until(&watchdog.over);
    let (options, from) = (pack_options(OutsideLinks::Keep, budget), directory.to_owned());
    let pack = watchdog.blocking(move |control| {
        archive::pack(&from, &options, &mut packed, control)?;
        packed.finish();
        Ok::<_, TransferError>(())
    });
    let mut source = Received::new(archive, Root::default(), &watchdog);
    let (mut sent, archive) = Sent::until(&watchdog.over);
    let options = unpack_options(OutsideLinks::Keep, budget);
    let validate = watchdog.blocking(move |control| {
        archive::validate(&mut source, Compression::None, &options, &mut sent, control)
            .map_err(|error| TransferError::of_archive(error, 0, ""))?;
        sent.finish();
        Ok::<_, TransferError>(())
    });
    let write = watchdog.bounded(volume.write(archive));
    let (packed, validated, written) = tokio::join!(pack, validate, write);
    first([packed.flatten(), written.and_then(|written| Ok(written?)), validated.flatten()])
}

/// Makes a directory at `to` with the content of a volume. `outside_links` says what becomes of links that lead
/// out of the volume.
///
/// After an error there may be a part of it, which the caller removes.
pub async fn fetch_tree(
    volume: &VolumeAccess,
    to: &Path,
    outside_links: OutsideLinks,
    budget: &Budget,
    cancel: &CancellationToken,
) -> Result<(), TransferError> {
    let watchdog = Watchdog::start(DEADLINES, false, cancel).without_settings();
    let content = Content::open(volume, &watchdog).await?;
    let (mut packed, archive) = Sent::until(&watchdog.over);
    let options = pack_options(outside_links, budget);
    let pack = watchdog.blocking(move |control| {
        content.pack(&options, &mut packed, control)?;
        packed.finish();
        Ok::<_, TransferError>(())
    });
    let mut source = Received::new(archive, Root::default(), &watchdog);
    let (options, to): (_, PathBuf) = (unpack_options(outside_links, budget), to.to_owned());
    let unpack = watchdog.blocking(move |control| {
        std::fs::create_dir(&to)?;
        archive::unpack(&mut source, Compression::None, &to, &options, control)
            .map_err(|error| TransferError::of_archive(error, 0, ""))?;
        Ok::<_, TransferError>(())
    });
    let (packed, unpacked) = tokio::join!(pack, unpack);
    first([packed.flatten(), unpacked.flatten()])
}

/// The reason of several parts that end each other: one that is not that another part takes or sends no more.
fn first<const N: usize>(parts: [Result<(), TransferError>; N]) -> Result<(), TransferError> {
    let is_consequence = |error: &TransferError| {
        matches!(error, TransferError::Cancelled)
            || matches!(error, TransferError::Io(text) if text.contains(NO_MORE))
    };
    let mut failed: Vec<TransferError> = parts.into_iter().filter_map(Result::err).collect();
    failed.sort_by_key(is_consequence);
    failed.into_iter().next().map_or(Ok(()), Err)
}

fn pack_options(outside_links: OutsideLinks, budget: &Budget) -> PackOptions {
    PackOptions {
        compression: Compression::None,
        outside_links,
        setuid: Setuid::Drop,
        limits: Limits::default(),
        budget: budget.clone(),
    }
}

fn unpack_options(outside_links: OutsideLinks, budget: &Budget) -> UnpackOptions {
    UnpackOptions {
        limits: Limits::default(),
        outside_links,
        setuid: Setuid::Drop,
        expected: None,
        sealed: true,
        budget: budget.clone(),
    }
}
