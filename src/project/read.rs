//! One file of a volume, without a task.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use archive::OutsideLinks;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use transfer::VolumeAccess;

use super::{FilesError, ProjectFiles};
use crate::process::scratch::Scratch;
use crate::volume::VolumeName;

/// The most that a pipeline may read of one file, in bytes.
pub const LARGEST: u64 = 16 << 20;

impl ProjectFiles {
    /// The content of a regular file of a volume, at most [`LARGEST`] bytes.
    pub async fn read(&self, volume: &VolumeName, path: PathBuf) -> Result<Vec<u8>, FilesError> {
        let found = self.volumes.content(volume).await?;
        // Each holds as much memory as the file has.
        let _turn = self.reads.acquire().await.map_err(|_| FilesError::Cancelled)?;
        let scratch = match &found.access {
            VolumeAccess::Local(_) => None,
            VolumeAccess::Stream(_) => Some(self.fetched(&found).await?),
        };
        let root = match (&found.access, &scratch) {
            (VolumeAccess::Local(directory), _) => directory.path.clone(),
            (_, Some(scratch)) => scratch.content(),
            (VolumeAccess::Stream(_), None) => return Err(FilesError::Cancelled),
        };
        let name = volume.clone();
        let read = tokio::task::spawn_blocking(move || read(&root, &path, &name));
        let content = read.await.map_err(|_| FilesError::Cancelled)?;
        if let Some(scratch) = scratch {
            scratch.remove().await;
        }
        content
    }

    /// The content of a volume behind an engine, in a directory of this machine.
    pub(super) async fn fetched(
        &self,
        volume: &crate::driver::Volume,
    ) -> Result<Scratch, FilesError> {
        let scratch = Scratch::new().map_err(|error| {
            FilesError::io("make a directory in", &crate::process::state::directory())(error)
        })?;
        let keep = OutsideLinks::Keep;
        let content = scratch.content();
        transfer::fetch_tree(&volume.access, &content, keep, &self.budget, self.stop.last())
            .await
            .map_err(FilesError::volume(&volume.name))?;
        Ok(scratch)
    }
}

fn read(root: &Path, path: &Path, volume: &VolumeName) -> Result<Vec<u8>, FilesError> {
    let refused = |reason: String| {
        FilesError::Refused(format!("`{}` of volume `{volume}`: {reason}", path.display()))
    };
    let file = open_below(root, path).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            refused(format!("there is no such file{}", beside(root, path)))
        }
        Errno::XDEV => refused("it leads out of the volume".to_owned()),
        errno => refused(io::Error::from(errno).to_string()),
    })?;
    let failed = |error: io::Error| refused(error.to_string());
    let found = fstat(&file).map_err(|errno| failed(errno.into()))?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(refused("it is a directory".to_owned())),
        _ => return Err(refused("it is not a regular file".to_owned())),
    }
    let mut content = Vec::new();
    File::from(file).take(LARGEST + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LARGEST {
        let size = bytesize::ByteSize(found.st_size.unsigned_abs()).display().iec();
        return Err(refused(format!(
            "it has {size}, the most that is read is 16 MiB; use a task or an artifact"
        )));
    }
    Ok(content)
}

/// Opens what is at a path below a directory. A link on the way that leads out of the directory is an error.
pub fn open_below(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, directory, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(&root, path, flags, Mode::empty(), resolve)
}

/// What there is in the nearest directory that exists, for an error; at most ten names.
pub fn beside(root: &Path, path: &Path) -> String {
    let directories = path.ancestors().skip(1);
    let found = directories.filter_map(|above| {
        open_below(root, if above.as_os_str().is_empty() { Path::new(".") } else { above })
            .ok()
            .map(|directory| (above, directory))
    });
    let Some((above, directory)) = found.into_iter().next() else { return String::new() };
    let Ok(entries) = rustix::fs::Dir::new(directory) else { return String::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    names.sort();
    let (place, count) = (above.display().to_string(), names.len());
    let place = if place.is_empty() { "the volume".to_owned() } else { format!("`{place}`") };
    names.truncate(10);
    match count {
        0 => format!(", {place} is empty"),
        1..=10 => format!(", {place} has `{}`", names.join("`, `")),
        more => format!(", {place} has `{}` and {} more", names.join("`, `"), more - 10),
    }
}
